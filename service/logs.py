"""The log: text or JSON lines that never hold up, and never break, a call."""

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO, TextIOWrapper
from queue import Full, Queue
from threading import Thread
from typing import Final, Self, TextIO

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_MAX_LINES: Final = 10_000  # that wait to be written; more are dropped and counted
_STOP_S: Final = 2.0  # for the last lines, when whoever reads them has stopped


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the fields of a session."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        fields = getattr(record, "fields", None)
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": "call" if fields else record.getMessage(),
        }
        entry |= fields or {}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class LogWriter(logging.Handler):
    """Writes lines in a thread of its own; what cannot be written is counted and forgotten.

    A full disk, or a pipe that nobody reads, costs lines of the log and nothing else.

    Attributes:
        lost: Lines that were not written.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: Queue[str | None] = Queue(_MAX_LINES)
        self.lost = 0
        self._thread = Thread(target=self._write, name="sotto-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; the line is made here, so that it shows what is true now."""
        try:
            self._lines.put_nowait(self.format(record))
        except Exception:  # Full, or arguments that do not fit: whoever logs must not notice
            self.lost += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # ValueError: the stream was closed
                self.lost += 1

    def close(self) -> None:
        """Write what waits, for as long as that goes on."""
        with suppress(Full):  # nobody reads: what waits is lost
            self._lines.put(None, timeout=_STOP_S)
            self._thread.join(_STOP_S)
        super().close()


def unbuffered_stderr() -> TextIO:
    """Standard error that keeps nothing back: what a full disk refused does not come up again."""
    return TextIOWrapper(FileIO(sys.stderr.fileno(), "w", closefd=False), write_through=True)


class Logging:
    """Everything that is logged goes to one stream, while the `with` block runs.

    Attributes:
        writer: Who writes it.
    """

    def __init__(self, log_format: str, log_level: str, stream: TextIO | None = None) -> None:
        """Choose "text" or "json", and the least level; the stream is stderr by default."""
        self._level = log_level.upper()
        self.writer = LogWriter(stream or unbuffered_stderr())
        self.writer.setFormatter(
            JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT)
        )

    def __enter__(self) -> Self:
        root = logging.getLogger()
        root.addHandler(self.writer)
        root.setLevel(self._level)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.writer)
        self.writer.close()
