"""Where the time of a step goes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

Moment = float | torch.cuda.Event


class StepClock:
    """Seconds by phase; on CUDA, of the device's own time line."""

    def __init__(self, device: torch.device) -> None:
        self.on_cuda = device.type == "cuda"
        self._spans: list[tuple[str, Moment, Moment]] = []

    @contextmanager
    def phase(self, name: str, *, waits: bool = False) -> Iterator[None]:
        """Count the block towards `name`; `waits` if it keeps the process, not the device, busy."""
        now: Callable[[], Moment] = time.perf_counter if waits else self._now
        begin = now()
        yield
        self._spans.append((name, begin, now()))

    def read(self) -> dict[str, float]:
        """Seconds of each phase since the last reading."""
        if self.on_cuda:
            torch.cuda.synchronize()
        found: dict[str, float] = {}
        for name, begin, end in self._spans:
            found[name] = found.get(name, 0.0) + _seconds(begin, end)
        self._spans = []
        return found

    def _now(self) -> Moment:
        if not self.on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def _seconds(begin: Moment, end: Moment) -> float:
    if isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        return float(begin.elapsed_time(end)) / 1000
    if isinstance(begin, float) and isinstance(end, float):
        return end - begin
    raise TypeError("a span begins and ends on the same clock")
