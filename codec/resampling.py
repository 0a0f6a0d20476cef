"""Changing the sample rate of a stream; needs no torch."""

import math
from collections import deque

import numpy as np

from .errors import ShapeError, StreamClosedError
from .finite import check_finite
from .rates import check_sample_rate, rescale
from .segments import Audio, Quality, SegmentedFilter


class StreamResampler:
    """Changes the sample rate of a stream, piece by piece.

    Nothing is shifted: output sample i lies at the time i / out_rate of the input. The whole
    output has ``total_in * out_rate / in_rate`` samples, halves rounded up, and does not depend on
    how the input was cut. Samples come some tens of milliseconds late, the rest at `flush`.

    Args:
        in_rate: Hz of what is pushed.
        out_rate: Hz of what comes out; if equal, everything passes unchanged and at once.
        quality: soxr's recipe; "LQ" waits about half as long as "HQ".
        resumable: Keep the input that `history` gives, about half a second.

    Raises:
        AudioError: A rate out of range.
    """

    def __init__(
        self, in_rate: int, out_rate: int, quality: Quality = "HQ", *, resumable: bool = False
    ) -> None:
        check_sample_rate(in_rate, "in_rate")
        check_sample_rate(out_rate, "out_rate")
        self.in_rate = in_rate
        self.out_rate = out_rate
        self.samples_in = 0
        self.samples_out = 0
        self._quality: Quality = quality
        self._filter: SegmentedFilter | None = None
        self._kept: deque[Audio] | None = deque() if resumable else None
        self._early: Audio | None = None  # of a resumed stream, whose input is cut otherwise
        self._known = 0  # output samples that a resumed stream makes for the second time
        self._shape: tuple[int, ...] | None = None  # what follows the samples axis
        self._closed = False

    def push(self, audio: Audio) -> Audio:
        """Feed float32 [S] or [S, C], any S, and take what is ready, with as many axes.

        Raises:
            ShapeError: Other axes or channels than the first time.
            AudioError: NaN or infinity.
            StreamClosedError: After `flush`.
        """
        self._open(audio)
        check_finite(audio, self.samples_in, self.in_rate)
        self.samples_in += len(audio)
        if self._filter is None:
            return self._count(np.array(audio, np.float32))
        return self._count(self._resample(audio))

    def flush(self, total: int | None = None) -> Audio:
        """End the stream and take the rest.

        Args:
            total: Samples that the whole output shall have, if not the rule's number; the input
                then counts as continued with silence, or the end is cut off.

        Raises:
            StreamClosedError: Called twice.
        """
        if total is None:
            total = rescale(self.samples_in, self.in_rate, self.out_rate)
        missing = total - self.samples_out
        silence = max(0, rescale(total, self.out_rate, self.in_rate) - self.samples_in) + 2
        tail = np.zeros((silence, *(self._shape or ())), np.float32)
        self._open(tail)
        self._closed = True
        rest = tail if self._filter is None else self._resample(tail, last=True)
        return self._count(rest[: max(missing, 0)])

    def history(self) -> tuple[int, int, Audio]:
        """The state of a resumable stream, for `resume`.

        Returns:
            samples_in: Input samples before those that are given.
            samples_out: Output samples so far.
            audio: The input from there on, float32 with the axes of what was pushed.
        """
        assert self._kept is not None, "only a resumable stream keeps its input"
        empty = np.zeros((0, *(self._shape or ())), np.float32)
        audio = np.concatenate([empty, *self._kept])
        return self.samples_in - len(audio), self.samples_out, audio

    def resume(self, samples_in: int, samples_out: int, audio: Audio) -> None:
        """Become the stream that gave this `history`; only before the first `push`."""
        assert self._shape is None, "a stream resumes before it begins"
        self._open(audio)
        self.samples_in, self.samples_out = samples_in + len(audio), samples_out
        if self._filter is not None:
            self._known = samples_out - self._filter.seek(samples_in)
            self._early = self._resample(audio)

    def _open(self, audio: Audio) -> None:
        if self._closed:
            raise StreamClosedError("this resampler was flushed; make another for the next stream")
        if self._shape is None:
            if not 1 <= audio.ndim <= 2 or not math.prod(audio.shape[1:]):
                raise ShapeError(f"audio has shape {audio.shape}; expected [S] or [S, C]")
            self._shape = audio.shape[1:]
            if self.in_rate != self.out_rate:
                rates, channels = (self.in_rate, self.out_rate), math.prod(self._shape)
                self._filter = SegmentedFilter(rates, channels, self._quality)
        if audio.ndim == 0 or audio.shape[1:] != self._shape:
            raise ShapeError(f"audio has shape {audio.shape}; the stream began with {self._shape}")

    def _resample(self, audio: Audio, last: bool = False) -> Audio:
        assert self._filter is not None
        flat = np.ascontiguousarray(audio, np.float32).reshape(
            len(audio), math.prod(self._shape or ())
        )
        out = self._filter.push(flat, last)
        if self._early is not None:
            out, self._early = np.concatenate([self._early.reshape(-1, out.shape[1]), out]), None
        again = min(self._known, len(out))
        self._known -= again
        self._keep(audio)
        return out[again:].reshape(-1, *(self._shape or ()))

    def _keep(self, audio: Audio) -> None:
        """Keep what a filter in use has heard, copied: the caller's array is not ours."""
        if self._kept is None or self._filter is None:
            return
        self._kept.append(np.array(audio, np.float32))
        start = self._filter.position - sum(map(len, self._kept))
        while self._kept and start + len(self._kept[0]) <= self._filter.needs:
            start += len(self._kept.popleft())
        if self._kept and start < self._filter.needs:
            self._kept[0] = self._kept[0][self._filter.needs - start :]

    def _count(self, out: Audio) -> Audio:
        self.samples_out += len(out)
        return out
