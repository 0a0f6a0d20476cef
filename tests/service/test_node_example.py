"""The Node.js client, which knows nothing but the proto, streams through a live server."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sotto.service.tokens import add_line, new_token

from .npm import packages

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "node"
PROTO = ROOT / "proto" / "v1" / "codec.proto"


@pytest.fixture(scope="module")
def node_folder():
    """The example with its packages."""
    package = json.loads((EXAMPLE / "package.json").read_text())
    folder = packages("node-example", package["dependencies"])
    shutil.copy(EXAMPLE / "stream.js", folder / "stream.js")
    return folder


def run(folder, server, source, target, **variables):
    command = ["node", "stream.js", f"127.0.0.1:{server.port}", PROTO, source, target, "24000"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_streams_codes_and_audio(node_folder, serving, tmp_path, tiny_codec):
    source, target = tmp_path / "speech.raw", tmp_path / "heard.raw"
    noise = np.random.default_rng(0).integers(-3000, 3000, 12_345).astype("<i2")
    source.write_bytes(noise.tobytes())
    path, (token, line) = tmp_path / "tokens", new_token("node")
    add_line(path, line)
    with serving(tokens=path) as server:
        done = run(node_folder, server, source, target, SOTTO_TOKEN=token)
        assert done.returncode == 0, done.stderr
        refused = run(node_folder, server, source, target, SOTTO_TOKEN="")
    said = json.loads(done.stdout)
    assert said["model"] == tiny_codec.info.name
    assert said["num_samples"] == 12_345
    assert len(target.read_bytes()) == 2 * 12_345
    assert refused.returncode == 1
    assert "16 no token" in refused.stderr


def test_its_packages_are_pinned():
    package = json.loads((EXAMPLE / "package.json").read_text())
    assert set(package["dependencies"]) == {"@grpc/grpc-js", "@grpc/proto-loader"}
    for version in package["dependencies"].values():
        assert version[0].isdigit()
    assert not (EXAMPLE / "package-lock.json").exists()
