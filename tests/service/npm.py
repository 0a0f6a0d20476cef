"""Installs npm packages for a test and keeps them in .cache between runs."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache"


def packages(folder: str, dependencies: dict[str, str]) -> Path:
    """The folder below .cache that has these packages; the test is skipped where npm cannot."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    path, wanted = CACHE / folder, json.dumps({"private": True, "dependencies": dependencies})
    installed = path / "installed.json"
    if not installed.exists() or installed.read_text() != wanted:
        path.mkdir(parents=True, exist_ok=True)
        (path / "package.json").write_text(wanted)
        command = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=100)
        if done.returncode:
            pytest.skip(f"npm could not install the packages: {done.stderr.strip()[-300:]}")
        installed.write_text(wanted)
    return path
