"""The settings in force, as a settings file that says where each value came from."""

import json
import os
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from .config_file import CONFIG_VARIABLE, config_path, read_config
from .settings import Settings

_PREFIX: Final = "SOTTO_"
_CLIENT_VARIABLES: Final = {"SOTTO_TOKEN"}  # read by `sotto client`, not by the server


def describe(settings: Settings, flags: Collection[str], config: Path | None = None) -> str:
    """TOML of `settings`; no secret is among them, since files of secrets appear by their paths.

    Args:
        settings: As `load_settings` gave them.
        flags: Names that were chosen on the command line.
        config: The file that was chosen there.
    """
    path = config_path(config)
    in_file = read_config(path)
    variables = {name.upper() for name in os.environ}
    lines = []
    for name, value in settings.model_dump(mode="json").items():
        if name in flags:
            source = "flag"
        elif f"{_PREFIX}{name}".upper() in variables:
            source = f"{_PREFIX}{name.upper()}"
        else:
            source = str(path) if name in in_file else "default"
        lines.append(f"{_assignment(name, value):<40} # {source}")
    return "\n".join(lines)


def _assignment(name: str, value: Any) -> str:
    # JSON writes text, numbers, truth and lists as TOML does; TOML has no null.
    return f"# {name} is not set" if value is None else f"{name} = {json.dumps(value)}"


def unknown_variables() -> Iterator[str]:
    """What to say about each `SOTTO_*` variable that sets nothing.

    Not an error: Kubernetes makes such variables of the name of a Service.
    """
    known = {f"{_PREFIX}{name}".upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if not name.upper().startswith(_PREFIX) or name.upper() in known | _CLIENT_VARIABLES:
            continue
        if name != CONFIG_VARIABLE:
            close = get_close_matches(name.upper(), known, 1)
            yield f"{name} sets nothing" + (f"; is {close[0]} meant?" if close else "")
