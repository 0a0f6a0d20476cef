"""Resume tokens: the state of a stream as authenticated bytes that a client keeps for us."""

import hmac
import json
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sotto.codec.errors import ConfigError

from .errors import ResumeError

_MAGIC: Final = b"sotto-resume-1\0"
_MIN_KEY_BYTES: Final = 32
_TAG_BYTES: Final = sha256().digest_size
_LENGTH: Final = struct.Struct(">I")


@dataclass(frozen=True)
class Snapshot:
    """The state of a stream.

    Attributes:
        facts: What JSON can say: counters, and what the stream must have in common with the call
            that resumes it.
        arrays: float32 arrays by name.
    """

    facts: dict[str, Any]
    arrays: dict[str, npt.NDArray[np.float32]]

    def below(self, prefix: str) -> dict[str, npt.NDArray[np.float32]]:
        """The arrays whose name begins with `prefix`, without it."""
        found = {n: a for n, a in self.arrays.items() if n.startswith(prefix)}
        return {name.removeprefix(prefix): array for name, array in found.items()}


class TokenSealer:
    """Makes tokens and opens those that were made with the same key, and no others."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, snapshot: Snapshot) -> bytes:
        """A token: magic, HMAC-SHA256 of what follows, length of a JSON header, header, floats."""
        shapes = {name: array.shape for name, array in snapshot.arrays.items()}
        header = json.dumps({"facts": snapshot.facts, "shapes": shapes}).encode()
        floats = [np.ascontiguousarray(a, "<f4").tobytes() for a in snapshot.arrays.values()]
        body = b"".join([_LENGTH.pack(len(header)), header, *floats])
        return _MAGIC + self._tag(body) + body

    def open(self, token: bytes) -> Snapshot:
        """Undo `seal`.

        Raises:
            ResumeError: Not a token, or not one that was made with our key, or changed since.
        """
        start = len(_MAGIC) + _TAG_BYTES
        tag, body = token[len(_MAGIC) : start], token[start:]
        if not token.startswith(_MAGIC) or not hmac.compare_digest(tag, self._tag(body)):
            raise ResumeError(
                f"resume_token of {len(token)} bytes is not one of this server's, or was changed; "
                "begin the stream anew, or give all servers the same resume_key_file"
            )
        return _read(body)

    def _tag(self, body: bytes) -> bytes:
        return hmac.new(self._key, _MAGIC + body, sha256).digest()


def _read(body: bytes) -> Snapshot:
    """Read what we ourselves have written."""
    (length,) = _LENGTH.unpack_from(body)
    header = json.loads(body[_LENGTH.size : _LENGTH.size + length])
    shapes: Mapping[str, list[int]] = header["shapes"]
    floats = np.frombuffer(body[_LENGTH.size + length :], "<f4")
    arrays, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        arrays[name] = floats[at : at + size].reshape(shape).astype(np.float32)
        at += size
    return Snapshot(header["facts"], arrays)


def read_key(path: Path | None) -> bytes:
    """The key in a file, or a new one if there is none.

    Raises:
        ConfigError: The file cannot be read or is too short to be a secret.
    """
    if path is None:
        return secrets.token_bytes(_MIN_KEY_BYTES)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"resume_key_file '{path}' cannot be read: {error.strerror}") from error
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigError(
            f"resume_key_file '{path}' has {len(key)} bytes; expected {_MIN_KEY_BYTES} or more, "
            "for example from: openssl rand -out FILE 32"
        )
    return key
