"""What an evaluation needs of a codec, and Sotto's own codec in that shape."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from sotto.codec.errors import ConfigError, ShapeError
from sotto.codec.info import ModelInfo
from sotto.codec.packing import pack
from sotto.codec.usage import BookUse, codebook_use, count_codes

from .clips import Audio

if TYPE_CHECKING:
    from sotto.export.runtime import Codec


DEFINITIONS = {
    "measured_bitrate": "8 x bytes of packed codes of all clips / seconds of audio, without "
    "the header of a file",
    "times_real_time": "seconds of audio / wall-clock seconds of encoding with all books and "
    "decoding at this bitrate, one whole clip at a time; metrics run meanwhile in other "
    "processes at low priority, so `make bench` is the place for exact speed",
    "used_share": "share of a book's entries that occur at least once over all clips",
    "entropy_share": "entropy of a book's codes over all clips / log2(codebook_size)",
}


@dataclass(frozen=True)
class Coded:
    """A clip after coding at one bitrate.

    Attributes:
        audio: float32 [S], as long as the clip and in step with it.
        num_bytes: Bytes that the codes take.
        coding_s: Seconds that encoding and decoding took.
        num_codebooks: Books that were decoded; 0 for a codec without books.
    """

    audio: Audio
    num_bytes: int
    coding_s: float
    num_codebooks: int


class Coder(Protocol):
    """A codec at several bitrates."""

    @property
    def sample_rate(self) -> int:
        """Hz of the audio it takes and gives."""

    @property
    def description(self) -> dict[str, Any]:
        """What it is: at least `name`, `version` and `identity`."""

    @property
    def definitions(self) -> dict[str, str]:
        """What it means by `measured_bitrate` and `times_real_time`."""

    @property
    def codebooks(self) -> tuple[BookUse, ...]:
        """Use of its codebooks over all clips so far; empty if it has none."""

    def code(self, audio: Audio) -> tuple[Coded, ...]:
        """Encode a clip [S] and decode it at every bitrate."""


class SottoCoder:
    """Sotto's codec: every clip is encoded once, and every bitrate decodes a prefix of the books."""

    def __init__(self, codec: "Codec", bitrates: Sequence[float]) -> None:
        """Take a codec.

        Raises:
            CodesError: A bitrate is outside what the model offers.
            ConfigError: No bitrate, or two that mean the same books.
        """
        info = codec.info
        self._codec, self._books = codec, _choose_books(info, bitrates)
        self._counts = np.zeros((info.num_codebooks, info.codebook_size), np.int64)
        warm_up = np.zeros((1, 1, info.frame_size), np.float32)  # the first run allocates
        codec.decode(codec.encode(warm_up))

    @property
    def sample_rate(self) -> int:
        """Hz of the model."""
        return self._codec.info.sample_rate

    @property
    def description(self) -> dict[str, Any]:
        """Sizes and identity of the model."""
        return {**asdict(self._codec.info), "latency_ms": self._codec.info.latency_ms}

    @property
    def definitions(self) -> dict[str, str]:
        """What bit rates, speed and codebook use mean here."""
        return DEFINITIONS

    @property
    def codebooks(self) -> tuple[BookUse, ...]:
        """Use of every book over all clips so far."""
        return tuple(codebook_use(self._counts))

    def code(self, audio: Audio) -> tuple[Coded, ...]:
        """Encode a clip [S] with all books, decode it with each of the prefixes.

        Raises:
            ShapeError: The codec gave another number of frames or samples than it should.
        """
        info = self._codec.info
        start = time.perf_counter()
        codes = self._codec.encode(audio[None, None])
        encode_s = time.perf_counter() - start
        expected = (1, info.num_codebooks, info.num_frames(audio.size))
        if codes.shape != expected:
            raise ShapeError(
                f"{audio.size} samples gave codes of shape {codes.shape}; expected {expected}"
            )
        self._counts += count_codes(codes, info.codebook_size)
        return tuple(self._decode(codes[:, :k], audio.size, encode_s) for k in self._books)

    def _decode(self, codes: npt.NDArray[np.int64], num_samples: int, encode_s: float) -> Coded:
        start = time.perf_counter()
        audio = self._codec.decode(codes, num_samples)
        coding_s = encode_s + time.perf_counter() - start
        if audio.shape != (1, 1, num_samples):
            raise ShapeError(
                f"{num_samples} samples came back with shape {audio.shape}; "
                f"expected {(1, 1, num_samples)}"
            )
        num_bytes = len(pack(codes[0], self._codec.info.codebook_size))
        return Coded(audio[0, 0], num_bytes, coding_s, codes.shape[1])


def _choose_books(info: ModelInfo, bitrates: Sequence[float]) -> tuple[int, ...]:
    books = tuple(info.choose_num_codebooks(bitrate=bitrate) for bitrate in bitrates)
    if not books or len(set(books)) < len(books):
        asked = ", ".join(f"{rate:g} ({k} books)" for rate, k in zip(bitrates, books, strict=True))
        raise ConfigError(
            f"bitrates are {asked or 'missing'}; expected at least one, each with its own number "
            f"of books ({info.bitrate(1):g} bit/s per book)"
        )
    return books
