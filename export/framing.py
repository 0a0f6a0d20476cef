"""What stands between a stream and the codec's steps: whole frames in, the delay off; no model."""

import numpy as np

from sotto.codec.errors import CodesError, ShapeError, StreamClosedError
from sotto.codec.finite import check_finite
from sotto.codec.info import ModelInfo

from .arrays import Audio, Codes, all_books, as_float32


class EncodeFraming:
    """Cuts the audio of one mono stream into whole frames.

    Attributes:
        samples: Samples taken so far.
        frames: Frames given so far.
        pending: float32 [S], samples that do not fill a frame yet.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.info = info
        self.samples = 0
        self.frames = 0
        self.pending: Audio = np.zeros(0, np.float32)
        self._closed = False

    def push(self, audio: Audio) -> Audio:
        """Add float32 [S], any S; give the frames that are full, [n * frame_size].

        Raises:
            ShapeError: Not one axis.
            AudioError: Not floating point, or NaN or infinite samples; the stream is as it was
                before.
            StreamClosedError: After `flush`.
        """
        if self._closed:
            raise StreamClosedError("the encoder stream was flushed; start a new one")
        if audio.ndim != 1:
            raise ShapeError(f"audio has shape {audio.shape}; a stream takes mono chunks [S]")
        audio = as_float32(audio)
        check_finite(audio, self.samples, self.info.sample_rate)
        self.samples += len(audio)
        pending = np.concatenate([self.pending, audio])
        full = len(pending) - len(pending) % self.info.frame_size
        self.pending = pending[full:]
        return self._count(pending[:full])

    def flush(self) -> Audio:
        """Give what is left, filled up to ``info.num_frames(samples)`` frames; ends the stream.

        Raises:
            StreamClosedError: Called twice.
        """
        if self._closed:
            raise StreamClosedError("the encoder stream was already flushed")
        self._closed = True
        left = self.info.num_frames(self.samples) - self.frames
        missing = left * self.info.frame_size - len(self.pending)
        return self._count(np.pad(self.pending, (0, missing)))

    def _count(self, audio: Audio) -> Audio:
        self.frames += len(audio) // self.info.frame_size
        return audio


class DecodeFraming:
    """Checks the codes of one mono stream, and takes the codec's delay off its audio.

    Attributes:
        frames: Frames taken so far.
        samples: Samples given so far.
        skip: Samples of delay that are still to be taken off.
    """

    def __init__(self, info: ModelInfo, num_samples: int | None = None) -> None:
        """Start a stream; with `num_samples` it ends after so many samples.

        Raises:
            ShapeError: A negative length.
        """
        if num_samples is not None and num_samples < 0:
            raise ShapeError(f"num_samples={num_samples}; a length cannot be negative")
        self.info = info
        self.frames = 0
        self.samples = 0
        self.skip = info.delay_samples
        self._num_samples = num_samples
        self._closed = False

    def push(self, codes: Codes) -> Codes:
        """Take codes int64 [k, n]; give all books, [K, n], with -1 for those not heard.

        Raises:
            ShapeError: Not two axes, or too many books.
            CodesError: A code is out of range, or a book is heard without those before it.
            StreamClosedError: After `flush`.
        """
        if self._closed:
            raise StreamClosedError("the decoder stream was flushed; start a new one")
        if codes.ndim != 2:
            raise ShapeError(f"codes have shape {codes.shape}; a stream takes [k, n]")
        if not codes.shape[1]:
            return np.zeros((self.info.num_codebooks, 0), np.int64)
        books: Codes = all_books(codes[None], self.info)[0]
        self.frames += books.shape[1]
        return books

    def heard(self, audio: Audio) -> Audio:
        """Take the decoded audio [S] of frames that were pushed; give what is to be played."""
        ready = audio[self.skip :]
        self.skip = max(self.skip - len(audio), 0)
        if self._num_samples is not None:
            ready = ready[: self._num_samples - self.samples]
        self.samples += len(ready)
        return ready

    def flush(self) -> None:
        """End the stream; all audio has been given out already.

        Raises:
            CodesError: The frames did not hold the `num_samples` that were announced.
            StreamClosedError: Called twice.
        """
        if self._closed:
            raise StreamClosedError("the decoder stream was already flushed")
        self._closed = True
        if self._num_samples is not None and self.samples < self._num_samples:
            raise CodesError(
                f"{self.frames} frames hold {self.samples} samples, but num_samples="
                f"{self._num_samples}; frames are missing at the end"
            )
