"""Changing the sample rate of a stream; needs no torch."""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
import soxr

from .errors import ShapeError, StreamClosedError
from .finite import check_finite
from .rates import check_sample_rate, rescale

Audio = npt.NDArray[np.float32]
Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]


class StreamResampler:
    """Changes the sample rate of a stream, piece by piece.

    Nothing is shifted: output sample i lies at the time i / out_rate of the input. The whole
    output has ``total_in * out_rate / in_rate`` samples, halves rounded up, and does not depend on
    how the input was cut. Samples come some tens of milliseconds late, the rest at `flush`.

    Args:
        in_rate: Hz of what is pushed.
        out_rate: Hz of what comes out; if equal, everything passes unchanged and at once.
        quality: soxr's recipe; "LQ" waits about half as long as "HQ".

    Raises:
        AudioError: A rate out of range.
    """

    def __init__(self, in_rate: int, out_rate: int, quality: Quality = "HQ") -> None:
        check_sample_rate(in_rate, "in_rate")
        check_sample_rate(out_rate, "out_rate")
        self.in_rate = in_rate
        self.out_rate = out_rate
        self.samples_in = 0
        self.samples_out = 0
        self._quality = quality
        self._stream: soxr.ResampleStream | None = None
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
        if self._stream is None:
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
        rest = tail if self._stream is None else self._resample(tail, last=True)
        return self._count(rest[: max(missing, 0)])

    def _open(self, audio: Audio) -> None:
        if self._closed:
            raise StreamClosedError("this resampler was flushed; make another for the next stream")
        if self._shape is None:
            if not 1 <= audio.ndim <= 2 or not math.prod(audio.shape[1:]):
                raise ShapeError(f"audio has shape {audio.shape}; expected [S] or [S, C]")
            self._shape = audio.shape[1:]
            if self.in_rate != self.out_rate:
                channels = math.prod(self._shape)
                self._stream = soxr.ResampleStream(
                    self.in_rate, self.out_rate, channels, "float32", self._quality
                )
        if audio.ndim == 0 or audio.shape[1:] != self._shape:
            raise ShapeError(f"audio has shape {audio.shape}; the stream began with {self._shape}")

    def _resample(self, audio: Audio, last: bool = False) -> Audio:
        assert self._stream is not None
        flat = np.ascontiguousarray(audio, np.float32).reshape(
            len(audio), math.prod(self._shape or ())
        )
        out: Audio = self._stream.resample_chunk(flat, last=last)
        return out.reshape(len(out), *(self._shape or ()))

    def _count(self, out: Audio) -> Audio:
        self.samples_out += len(out)
        return out
