"""One line in the log for each call that is over."""

import logging
from dataclasses import asdict
from typing import Final

from .report import CallReport

logger = logging.getLogger("sotto.session")
_DIGITS: Final = 3  # milliseconds


class SessionLog:
    """A `CallObserver` that writes the report; never what was said, and never a token."""

    def opened(self, method: str) -> None:
        """Nothing is written yet."""

    def audio_in(self, method: str, seconds: float) -> None:
        """Nothing is written yet."""

    def audio_out(self, method: str, seconds: float) -> None:
        """Nothing is written yet."""

    def closed(self, report: CallReport) -> None:
        """Write the line; `fields` of the record has the report by name, for JSON."""
        fields = {
            name: round(value, _DIGITS) if isinstance(value, float) else value
            for name, value in asdict(report).items()
            if value != ""
        }
        text = " ".join(f"{name}={value!r}" for name, value in fields.items())
        logger.info("call %s", text, extra={"fields": fields})
