"""One mono stream at the model's rate: buffers odd chunks, flushes the tail, removes the delay."""

import numpy as np

from sotto.codec.errors import CodesError, ShapeError, StreamClosedError
from sotto.codec.finite import check_finite

from .arrays import Audio, Codes, all_books, as_float32, blocks
from .runtime import Codec


class StreamEncoder:
    """Audio in chunks of any size to codes, frame by frame as they fill.

    The codes do not depend on how the audio is cut.
    """

    def __init__(self, codec: Codec, num_codebooks: int | None = None) -> None:
        """Start a stream that keeps the first `num_codebooks` books, all by default.

        Raises:
            CodesError: The model has no such number of books.
        """
        self.info = codec.info
        self.num_codebooks = num_codebooks  # None means all
        self.samples = 0
        self.frames = 0
        self._codec = codec
        self._state = codec.encoder_state()
        self._pending = np.zeros(0, np.float32)
        self._closed = False

    @property
    def num_codebooks(self) -> int:
        """Books that `push` returns; may be changed between chunks."""
        return self._num_codebooks

    @num_codebooks.setter
    def num_codebooks(self, value: int | None) -> None:
        self._num_codebooks = self.info.choose_num_codebooks(value)

    def push(self, audio: Audio) -> Codes:
        """Add samples and encode the frames that are full.

        Args:
            audio: float32 [S], any S.

        Returns:
            int64 [k, n], n >= 0.

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
        pending = np.concatenate([self._pending, audio])
        full = len(pending) - len(pending) % self.info.frame_size
        self._pending = pending[full:]
        return self._encode(pending[:full])

    def flush(self) -> Codes:
        """Encode what is left and the frames that carry the codec's delay; ends the stream.

        Returns:
            int64 [k, n]; all frames of the stream are now ``info.num_frames(samples)``.

        Raises:
            StreamClosedError: Called twice.
        """
        if self._closed:
            raise StreamClosedError("the encoder stream was already flushed")
        self._closed = True
        left = self.info.num_frames(self.samples) - self.frames
        missing = left * self.info.frame_size - len(self._pending)
        return self._encode(np.pad(self._pending, (0, missing)))

    def _encode(self, audio: Audio) -> Codes:
        found = [np.zeros((self.num_codebooks, 0), np.int64)]
        for block in blocks(audio, self.info.frame_size):
            codes, self._state = self._codec.encode_step(block[None, None], self._state)
            self.frames += codes.shape[2]
            found.append(codes[0, : self.num_codebooks])
        return np.concatenate(found, axis=1)


class StreamDecoder:
    """Codes, any number of frames at a time, to audio; the codec's delay is taken off the start."""

    def __init__(self, codec: Codec, num_samples: int | None = None) -> None:
        """Start a stream; with `num_samples` it ends after so many samples.

        Raises:
            ShapeError: A negative length.
        """
        if num_samples is not None and num_samples < 0:
            raise ShapeError(f"num_samples={num_samples}; a length cannot be negative")
        self.info = codec.info
        self.samples = 0
        self.frames = 0
        self._codec = codec
        self._state = codec.decoder_state()
        self._skip = codec.info.delay_samples
        self._num_samples = num_samples
        self._closed = False

    def push(self, codes: Codes) -> Audio:
        """Decode frames.

        Args:
            codes: int64 [k, n], n >= 0; books beyond k, and entries of -1, are not heard.

        Returns:
            float32 [S], ready to play.

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
            return np.zeros(0, np.float32)
        books = all_books(codes[None], self.info)  # so that a bad code changes nothing
        return np.concatenate([self._decode(block) for block in blocks(books, 1)])

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

    def _decode(self, codes: Codes) -> Audio:
        """At most a block of frames [1, K, n] to audio [S]."""
        audio, self._state = self._codec.decode_step(codes, self._state)
        self.frames += codes.shape[2]
        ready = audio[0, 0, self._skip :]
        self._skip = max(self._skip - audio.shape[2], 0)
        if self._num_samples is not None:
            ready = ready[: self._num_samples - self.samples]
        self.samples += len(ready)
        return ready
