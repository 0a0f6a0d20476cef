"""Opus as a peer that is measured on the same clips."""

import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile

from sotto.codec.errors import ConfigError, ShapeError
from sotto.codec.usage import BookUse

from .clips import Audio
from .coders import Coded

SAMPLE_RATE = 24_000
MIN_BITRATE, MAX_BITRATE = 6000, 256_000  # what libsndfile maps its compression level to
PAGE_HEADER = 27
HEADER_PAGES = 2  # OpusHead and OpusTags
DEFINITIONS = {
    "bitrate": "the rate asked of libopus (variable bit rate, as libsndfile sets it up)",
    "measured_bitrate": "8 x bytes of Opus packets of all clips / seconds of audio, without Ogg "
    "pages and the two header packets",
    "times_real_time": "seconds of audio / wall-clock seconds of writing and reading the Ogg "
    "stream in memory; metrics run meanwhile in other processes at low priority",
}


class OpusCoder:
    """Opus at 24 kHz mono by the libopus in libsndfile, delay removed by the container."""

    def __init__(self, bitrates: Sequence[float]) -> None:
        """Prepare for some bitrates.

        Raises:
            ConfigError: None, or one outside 6000 to 256000 bit/s.
        """
        if not bitrates or not all(MIN_BITRATE <= rate <= MAX_BITRATE for rate in bitrates):
            raise ConfigError(
                f"bitrates are {list(bitrates)}; Opus has {MIN_BITRATE} to {MAX_BITRATE} bit/s here"
            )
        self._bitrates = tuple(bitrates)

    @property
    def sample_rate(self) -> int:
        """24000 Hz, the rate of Sotto's default model."""
        return SAMPLE_RATE

    @property
    def description(self) -> dict[str, Any]:
        """Opus, by which library."""
        version = f"libsndfile {soundfile.__libsndfile_version__}"
        return {"name": "opus", "version": version, "identity": ""}

    @property
    def definitions(self) -> dict[str, str]:
        """What bit rates and speed mean here."""
        return DEFINITIONS

    @property
    def codebooks(self) -> tuple[BookUse, ...]:
        """None."""
        return ()

    def code(self, audio: Audio) -> tuple[Coded, ...]:
        """Encode and decode a clip [S] at every bitrate.

        Raises:
            ShapeError: Opus gave another number of samples than it got.
        """
        return tuple(self._code(audio, bitrate) for bitrate in self._bitrates)

    def _code(self, audio: Audio, bitrate: float) -> Coded:
        level = 1 - (bitrate - MIN_BITRATE) / (MAX_BITRATE - MIN_BITRATE)
        file = io.BytesIO()
        start = time.perf_counter()
        soundfile.write(
            file, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=level
        )
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
        coding_s = time.perf_counter() - start
        if decoded.shape != audio.shape:
            raise ShapeError(f"{audio.size} samples came back as {decoded.size}")
        return Coded(np.asarray(decoded), packet_bytes(file.getvalue()), coding_s, 0)


def packet_bytes(ogg: bytes) -> int:
    """Bytes of the audio packets in an Ogg Opus stream, https://www.rfc-editor.org/rfc/rfc3533."""
    sizes, at = [], 0
    while at < len(ogg):
        segments = ogg[at + PAGE_HEADER - 1]
        body = sum(ogg[at + PAGE_HEADER : at + PAGE_HEADER + segments])
        sizes.append(body)
        at += PAGE_HEADER + segments + body
    return sum(sizes[HEADER_PAGES:])
