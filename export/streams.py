"""One mono stream at the model's rate: buffers odd chunks, flushes the tail, removes the delay."""

import numpy as np

from .arrays import Audio, Codes, blocks
from .framing import DecodeFraming, EncodeFraming
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
        self._codec = codec
        self._state = codec.encoder_state()
        self._framing = EncodeFraming(codec.info)

    @property
    def samples(self) -> int:
        """Samples taken so far."""
        return self._framing.samples

    @property
    def frames(self) -> int:
        """Frames given so far."""
        return self._framing.frames

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
        return self._encode(self._framing.push(audio))

    def flush(self) -> Codes:
        """Encode what is left and the frames that carry the codec's delay; ends the stream.

        Returns:
            int64 [k, n]; all frames of the stream are now ``info.num_frames(samples)``.

        Raises:
            StreamClosedError: Called twice.
        """
        return self._encode(self._framing.flush())

    def _encode(self, audio: Audio) -> Codes:
        found = [np.zeros((self.num_codebooks, 0), np.int64)]
        for block in blocks(audio, self.info.frame_size):
            codes, self._state = self._codec.encode_step(
                block[None, None], self._state, self.num_codebooks
            )
            found.append(codes[0, : self.num_codebooks])
        return np.concatenate(found, axis=1)


class StreamDecoder:
    """Codes, any number of frames at a time, to audio; the codec's delay is taken off the start."""

    def __init__(self, codec: Codec, num_samples: int | None = None) -> None:
        """Start a stream; with `num_samples` it ends after so many samples.

        Raises:
            ShapeError: A negative length.
        """
        self.info = codec.info
        self._codec = codec
        self._state = codec.decoder_state()
        self._framing = DecodeFraming(codec.info, num_samples)

    @property
    def samples(self) -> int:
        """Samples given so far."""
        return self._framing.samples

    @property
    def frames(self) -> int:
        """Frames taken so far."""
        return self._framing.frames

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
        heard = [np.zeros(0, np.float32)]
        for block in blocks(self._framing.push(codes), 1):
            audio, self._state = self._codec.decode_step(block[None], self._state)
            heard.append(self._framing.heard(audio[0, 0]))
        return np.concatenate(heard)

    def flush(self) -> None:
        """End the stream; all audio has been given out already.

        Raises:
            CodesError: The frames did not hold the `num_samples` that were announced.
            StreamClosedError: Called twice.
        """
        self._framing.flush()
