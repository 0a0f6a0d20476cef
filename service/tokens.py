"""Bearer tokens: a file of their hashes says who may call."""

import os
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Final

from .watched_files import WatchedFiles

SCHEME: Final = "Bearer "
_TOKEN_BYTES: Final = 32  # of randomness, so that a plain hash of it cannot be guessed
_LINE: Final = re.compile(r"(?P<name>[\w.@-]+)\s+sha256:(?P<digest>[0-9a-f]{64})", re.ASCII)


class Tokens:
    """The tokens of a file with a line `NAME sha256:HEX` for each; `#` begins a comment.

    Two tokens may have the same name while one replaces the other.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; it is read again when it changes.

        Raises:
            ConfigError: It cannot be read, has no token, or a line is not as above.
        """
        self._file = WatchedFiles([path], lambda: _read(path))

    def name_of(self, token: str) -> str | None:
        """Whose token it is, or None; takes as long whichever it is, and however wrong."""
        digest = sha256(token.encode()).digest()
        found = None
        for known, name in self._file.get().items():
            if compare_digest(known, digest):
                found = name
        return found


def _read(path: Path) -> Mapping[bytes, str]:
    names: dict[bytes, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        match = _LINE.fullmatch(entry)
        if match is None:  # the line is not shown: it may be a token that was not hashed
            raise ValueError(f"line {number} is not 'NAME sha256:64 hex digits'")
        names[bytes.fromhex(match["digest"])] = match["name"]
    if not names:
        raise ValueError("there is no token in it; `sotto token NAME` makes one")
    return names


def new_token(name: str) -> tuple[str, str]:
    """Make a token.

    Returns:
        token: What the client sends.
        line: What belongs into the server's file.

    Raises:
        ValueError: The name has other characters than letters, digits and `._@-`.
    """
    token = f"sotto_{secrets.token_urlsafe(_TOKEN_BYTES)}"
    line = f"{name} sha256:{sha256(token.encode()).hexdigest()}"
    if _LINE.fullmatch(line) is None:
        raise ValueError(f"'{name}' is not a name of letters, digits and ._@-")
    return token, line


def add_line(path: Path, line: str) -> None:
    """Append to a file of tokens, or begin one that only its owner can read.

    The line stands alone, even if the last one of the file was left without an end.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        start = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(start + line.encode() + b"\n")
