"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import CodecError


@contextmanager
def atomic_path(path: str | Path, error: type[CodecError]) -> Iterator[Path]:
    """A new empty file beside `path`, which replaces `path` when the block ends without error.

    A link is followed, so that the file it points to is replaced and the link stays.

    Raises:
        error: `path` cannot be written: no such folder, no permission, not a regular file.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise error(f"cannot write {path}: it is not a regular file; give a file name")
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        # Not tempfile: its files are private to the user, whatever the umask says.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as problem:
        raise error(f"cannot write {path}: {problem.strerror}") from problem
    try:
        yield temporary
        temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
