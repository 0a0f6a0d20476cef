"""Frames that wait for a step of one graph, and which of them go together."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

import numpy.typing as npt

LIVE_FRAMES: Final = 25  # a job of more is no live speech: whoever sends it is ahead of time
_STEP_FRAMES: Final = 256  # of all streams in a step: more brings no speed, and others wait
_BULK_WAIT_S: Final = 1.0  # after which a bulk job goes before newer live ones


@dataclass(eq=False)
class Job:
    """The next frames of one call.

    Attributes:
        slots: Where the states of its mono streams are.
        signal: [C, ...], one row for each of them.
        frames: Frames of each.
        books: Books that an encoder's codes will keep.
        bulk: Whether live streams go first.
        queued_at: When it came, on the event loop's clock.
        result: Gets (output [C, ...], seconds of work).
        running: A step has it.
        abandoned: Its call is over: the slots are free as soon as the step is done.
    """

    slots: tuple[int, ...]
    signal: npt.NDArray[Any]
    frames: int
    books: int
    bulk: bool
    queued_at: float
    result: "asyncio.Future[tuple[Any, float]]"
    running: bool = field(default=False)
    abandoned: bool = field(default=False)


class JobQueue:
    """Jobs of one graph: live ones by their number of frames, and bulk ones.

    Only jobs of equal frames share a step: the graph takes one rectangle, and frames that fill up
    a shorter job would get into its state.
    """

    def __init__(self, max_batch: int, max_wait_s: float) -> None:
        """Group at most `max_batch` mono streams, or those of the last `max_wait_s` seconds."""
        self._max_batch, self._max_wait_s = max_batch, max_wait_s
        self._live: dict[int, deque[Job]] = {}
        self._bulk: deque[Job] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._live.values())) + len(self._bulk)

    def add(self, job: Job) -> bool:
        """Queue a job; give whether that may have made a step due at once."""
        if job.bulk:
            self._bulk.append(job)
            return True
        queue = self._live.setdefault(job.frames, deque())
        queue.append(job)
        return not self._max_wait_s or len(queue) >= self._max_batch

    def due(self) -> float:
        """When the next step has to begin; infinity if nothing must."""
        return min((due for due, _ in self._dues()), default=inf)

    def take(self, now: float) -> list[Job]:
        """The jobs of a step that is due, or of a bulk step; none if there is neither."""
        due, queue = min(self._dues(), key=lambda entry: entry[0], default=(inf, self._bulk))
        return self._group(queue if due <= now else self._bulk)

    def _dues(self) -> list[tuple[float, deque[Job]]]:
        dues = []
        for frames in list(self._live):
            queue = self._live[frames]
            _drop_cancelled(queue)
            if not queue:
                del self._live[frames]
                continue
            full = len(queue) >= self._max_batch
            dues.append((queue[0].queued_at + (0.0 if full else self._max_wait_s), queue))
        _drop_cancelled(self._bulk)
        if self._bulk:
            dues.append((self._bulk[0].queued_at + _BULK_WAIT_S, self._bulk))
        return dues

    def _group(self, queue: deque[Job]) -> list[Job]:
        jobs: list[Job] = []
        streams = 0
        while queue:
            job = queue[0]
            streams += len(job.slots)
            too_many = streams > self._max_batch or streams * job.frames > _STEP_FRAMES
            if jobs and (too_many or job.frames != jobs[0].frames):
                break
            queue.popleft()
            if not job.result.cancelled():
                jobs.append(job)
            else:
                streams -= len(job.slots)
        return jobs


def _drop_cancelled(queue: deque[Job]) -> None:
    while queue and queue[0].result.cancelled():
        queue.popleft()
