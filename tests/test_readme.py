"""What the README shows works as written, on the tiny model."""

import re
from pathlib import Path

import numpy as np
import pytest

import sotto
from sotto.export import runtime
from sotto.export.runtime import Codec

README = (Path(sotto.__path__[0]) / "README.md").read_text(encoding="utf-8")


def test_every_python_example_runs(
    tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    K = tiny_codec.info.num_codebooks
    monkeypatch.setattr(runtime, "load", lambda: tiny_codec)
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) >= 2
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 1, 12_345)).astype(np.float32)
    for example in examples:
        smaller = example.replace("bitrate=3000", f"num_codebooks={K}")
        smaller = smaller.replace("num_codebooks=6", f"num_codebooks={K}")
        names = {"audio": noise, "chunks": np.array_split(noise[0, 0], 7)}
        exec(compile(smaller, "README.md", "exec"), names)
    assert "(1, 1, 12345)" in capsys.readouterr().out


def test_every_link_to_a_file_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(sotto.__path__[0]) / target).exists(), target
