"""A file whose content is used until a newer one is there and good."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from sotto.codec.errors import ConfigError

T = TypeVar("T")
logger = logging.getLogger(__name__)


class WatchedFiles(Generic[T]):
    """What `read` makes of some files, read again when one of them has changed.

    New content that is broken is logged once and the old one stays in force, so that a renewal
    that goes wrong does not take the service down.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        """Read the files for the first time.

        Raises:
            ConfigError: One cannot be read or used.
        """
        self._paths, self._read = paths, read
        self._seen = self._stamps()
        self._value = self._load()

    def get(self) -> T:
        """The content in force."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._value = self._load()
                logger.info("read again: %s", self._names())
            except ConfigError as error:
                logger.error("%s; what was read before stays in force", error)
        return self._value

    def _load(self) -> T:
        try:
            return self._read()
        except (OSError, ValueError) as error:  # SSLError and UnicodeDecodeError are among them
            raise ConfigError(f"{self._names()}: {error}") from error

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]

    def _names(self) -> str:
        return ", ".join(map(str, self._paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    # Follows links, since Kubernetes and certbot renew a certificate by moving one.
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
