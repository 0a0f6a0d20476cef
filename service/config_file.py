"""The settings file: TOML with the names of `Settings`."""

import os
import tomllib
from pathlib import Path
from typing import Any, Final

from sotto.codec.errors import ConfigError

CONFIG_VARIABLE: Final = "SOTTO_CONFIG"


def config_path(chosen: Path | None = None) -> Path | None:
    """The file to read: the chosen one, or what `SOTTO_CONFIG` names, or none."""
    if chosen is not None:
        return chosen
    named = os.environ.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def read_config(path: Path | None) -> dict[str, Any]:
    """What the file sets.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"settings file {path}: {error}; expected TOML") from error
