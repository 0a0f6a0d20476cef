"""Where model bundles are, and what their config.json says."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from sotto.codec.config import build
from sotto.codec.errors import BundleError, ConfigError, ModelNotFoundError
from sotto.codec.info import BUNDLE_FORMAT, ModelInfo

DEFAULT_MODEL = "speech-24khz"


def available_models() -> list[str]:
    """Names of the bundles that ship with the package."""
    return sorted(folder.name for folder in _shipped())


def find_bundle(model: str | Path) -> Path:
    """Folder of a bundle, by name or path.

    Raises:
        ModelNotFoundError: Neither a shipped model nor a bundle folder; lists what exists.
    """
    if Path(model).is_dir():
        return Path(model)
    for folder in _shipped():
        if folder.name == str(model):
            return folder
    known = ", ".join(available_models()) or "none"
    raise ModelNotFoundError(
        f"no model '{model}': neither a folder nor one of the shipped models ({known})"
    )


def read_info(folder: Path) -> ModelInfo:
    """The info of a bundle.

    Raises:
        BundleError: config.json is missing, damaged or of another format.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"'{folder}' is not a model bundle: it has no config.json") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != BUNDLE_FORMAT:
        raise BundleError(f"'{path}' is not of bundle format {BUNDLE_FORMAT}, the one known here")
    try:
        return build(ModelInfo, config.get("info", {}), "info")
    except ConfigError as error:
        raise BundleError(f"'{path}' does not describe a model: {error}") from error


def find_encoder(folder: Path, info: ModelInfo) -> Path:
    """The encoder's graph of a bundle; one that has none takes that of the shipped model it names.

    So another decoder for the same tokens needs no copy of the encoder.

    Raises:
        BundleError: The bundle has none, and no shipped model is called so.
    """
    own = folder / "encoder.onnx"
    if own.is_file():
        return own
    for shipped in _shipped():
        if shipped.name == info.name and (shipped / "encoder.onnx").is_file():
            return shipped / "encoder.onnx"
    raise BundleError(
        f"the bundle has no 'encoder.onnx' ({own}), and no model called '{info.name}' ships with one"
    )


def _shipped() -> Iterator[Path]:
    for entry in files("sotto.models").iterdir():
        if entry.is_dir() and entry.joinpath("config.json").is_file():
            yield Path(str(entry))
