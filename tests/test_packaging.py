"""The package holds what the repository holds, and nothing of it is missing."""

import tomllib
from importlib.metadata import version
from pathlib import Path

import sotto

ROOT = Path(sotto.__path__[0])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_listed_packages_are_the_folders_on_disk() -> None:
    hidden = {"tests", "build", "dist", "runs", "docs", "examples", "deploy"}
    on_disk = {"sotto"}
    for file in ROOT.rglob("__init__.py"):
        parts = file.relative_to(ROOT).parts[:-1]
        if parts and parts[0] not in hidden and not parts[0].startswith("."):
            on_disk.add(".".join(["sotto", *parts]))
    assert on_disk == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_package_with_code_is_typed() -> None:
    for folder in ("codec", "export", "proto", "service", "train", "bench"):
        assert (ROOT / folder / "py.typed").is_file(), folder


def test_the_version_is_the_one_of_the_distribution() -> None:
    assert sotto.__version__ == version("sotto-codec") == PROJECT["project"]["version"]


def test_public_names_are_exactly_those_of_the_package() -> None:
    assert dir(sotto) == sotto.__all__
    assert all(getattr(sotto, name) is not None for name in sotto.__all__)


def test_every_source_file_opens_with_a_sentence_on_what_it_is_for() -> None:
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT).parts
        if parts[0].startswith(".") or parts[0] in ("build", "tests") or "_pb2" in file.name:
            continue
        assert file.read_text(encoding="utf-8").startswith('"""'), file


def test_constraints_pin_every_direct_dependency() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"]]
    for name in ("cpu", "demo", "train", "eval", "dev"):
        wanted += [line for line in extras[name] if not line.startswith("sotto-codec")]
    assert {line.split(">=")[0].lower() for line in wanted} <= pinned
