"""SIGTERM and Ctrl-C as a wish: the step under way is finished, then the run saves and ends."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

log = logging.getLogger(__name__)

WATCHED = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Remembers that a signal came; a second one acts at once. Use it as a context manager."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Listen; outside the main thread signals go where they always go."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in WATCHED}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._give_back()
        log.warning("%s: saving after this step", signal.Signals(number).name)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def leave_signals_to_the_parent(worker: int) -> None:
    """In a loader process: a signal to the whole group must not take the data away from a run."""
    for number in WATCHED:
        signal.signal(number, signal.SIG_IGN)
