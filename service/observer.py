"""Who wants to know of each step of a model: metrics, or nobody."""

from collections.abc import Sequence
from typing import Protocol


class StepObserver(Protocol):
    """Is told of every step, in the thread of the event loop; must return at once."""

    def step(
        self, graph: str, batch: int, frames: int, seconds: float, waits: Sequence[float]
    ) -> None:
        """One step has run.

        Args:
            graph: What ran, as MODEL/encoder or MODEL/decoder; with its beam, if it has one.
            batch: Mono streams in it.
            frames: Frames of each stream.
            seconds: How long it took, states gathered and scattered included.
            waits: For each of its jobs, seconds between its arrival and the start of the step.
        """


class NoObserver:
    """Nobody wants to know."""

    def step(
        self, graph: str, batch: int, frames: int, seconds: float, waits: Sequence[float]
    ) -> None:
        """Do nothing."""
