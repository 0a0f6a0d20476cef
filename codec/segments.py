"""Filters a stream with soxr so that its state can be rebuilt on another machine.

A filter of soxr cannot be copied. So the stream is filtered in segments at fixed places, each by a
filter of its own that sees enough of its neighbours to agree with theirs to the last digits of a
float. What a stream needs to go on elsewhere is then the input since its oldest filter started.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import soxr

Audio = npt.NDArray[np.float32]
Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]
_SEGMENT_S: Final = 0.5
_MARGIN: Final = 512  # samples at the lower rate on both sides of a segment: no filter is longer


@dataclass(frozen=True)
class Plan:
    """Where segments lie, in samples of the input; all multiples of what makes whole outputs.

    Attributes:
        step_in: Input samples of a segment.
        step_out: Output samples of a segment.
        margin: Input samples that a filter hears before and after its segment.
    """

    step_in: int
    step_out: int
    margin: int

    @classmethod
    def between(cls, in_rate: int, out_rate: int) -> "Plan":
        """The plan for two rates in Hz."""
        unit = in_rate // math.gcd(in_rate, out_rate)
        step = unit * max(1, round(_SEGMENT_S * in_rate / unit))
        margin = unit * math.ceil(_MARGIN * max(1.0, in_rate / out_rate) / unit)
        return cls(step, step * out_rate // in_rate, margin)

    def start(self, index: int) -> int:
        """First input sample of the filter of segment `index`."""
        return max(0, index * self.step_in - self.margin)

    def end(self, index: int) -> int:
        """Input sample after the last one of that filter."""
        return (index + 1) * self.step_in + self.margin


class _Segment:
    """The filter of one segment."""

    def __init__(self, plan: Plan, index: int, stream: soxr.ResampleStream) -> None:
        self.start, self.end = plan.start(index), plan.end(index)
        self.done = False
        self._stream = stream
        self._skip = index * plan.step_out - self.start * plan.step_out // plan.step_in
        self._left = plan.step_out

    def push(self, audio: Audio, at: int, last: bool) -> Audio:
        """Take from audio [S, C] at input sample `at` what is ours; give output of the segment."""
        mine = audio[max(0, self.start - at) : self.end - at]
        self.done = last or at + len(audio) >= self.end
        out: Audio = self._stream.resample_chunk(np.ascontiguousarray(mine), last=self.done)
        ready = out[self._skip : self._skip + self._left]
        self._skip -= min(self._skip, len(out))
        self._left -= len(ready)
        return ready


class SegmentedFilter:
    """One stream of [S, C] at another rate.

    Attributes:
        position: Input samples so far.
    """

    def __init__(self, rates: tuple[int, int], channels: int, quality: Quality) -> None:
        """Start at the first sample; `rates` are Hz of input and output."""
        self.position = 0
        self._rates, self._channels, self._quality = rates, channels, quality
        self._plan = Plan.between(*rates)
        self._next = 0
        self._live: deque[_Segment] = deque()
        self._early: deque[Audio] = deque()  # of segments whose turn has not come

    @property
    def needs(self) -> int:
        """The earliest input sample that a filter in use has heard."""
        return (
            self._live[0].start if self._live else min(self.position, self._plan.start(self._next))
        )

    def seek(self, position: int) -> int:
        """Begin at input sample `position`, once `needs` of another filter.

        Returns:
            The output sample that comes first.
        """
        while self._plan.start(self._next) < position:
            self._next += 1
        self.position = position
        return self._next * self._plan.step_out

    def push(self, audio: Audio, last: bool = False) -> Audio:
        """Take float32 [S, C]; give the output that is ready, all of it if `last`."""
        end = self.position + len(audio)
        while self._plan.start(self._next) < end:
            stream = soxr.ResampleStream(*self._rates, self._channels, "float32", self._quality)
            self._live.append(_Segment(self._plan, self._next, stream))
            self._early.append(audio[:0])
            self._next += 1
        for i, segment in enumerate(self._live):
            out = segment.push(audio, self.position, last)
            self._early[i] = np.concatenate([self._early[i], out]) if len(self._early[i]) else out
        self.position = end
        return self._take()

    def _take(self) -> Audio:
        ready = []
        while self._live:
            ready.append(self._early[0])
            self._early[0] = self._early[0][:0]
            if not self._live[0].done:
                break
            self._live.popleft()
            self._early.popleft()
        empty = np.zeros((0, self._channels), np.float32)
        return np.concatenate(ready) if ready else empty
