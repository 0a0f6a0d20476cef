"""Waiting for what must happen, without a clock: the test's own timeout ends a wait in vain."""

import time
from collections.abc import Callable


def until(happened: Callable[[], object]) -> None:
    """Return once it did."""
    while not happened():
        time.sleep(0.01)
