"""Raw sample formats: LINEAR16, FLOAT32, MULAW and ALAW bytes to float32 audio and back."""

from enum import Enum
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from sotto.codec.errors import AudioError

Audio = npt.NDArray[np.float32]


class RawFormat(Enum):
    """A headerless sample format; the value is its name on the wire."""

    LINEAR16 = "LINEAR16"
    FLOAT32 = "FLOAT32"
    MULAW = "MULAW"
    ALAW = "ALAW"

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one sample of one channel."""
        return _WIDTHS.get(self, 1)


_WIDTHS: Final = {RawFormat.LINEAR16: 2, RawFormat.FLOAT32: 4}
_FULL_SCALE: Final = np.float32(32768.0)
_STEP: Final = 1 / _FULL_SCALE  # a power of two: multiplying by it is exact


def num_samples(payload: bytes, raw: RawFormat, channels: int) -> int:
    """Samples per channel in `payload`.

    Raises:
        AudioError: The bytes do not make whole samples of all channels.
    """
    width = raw.bytes_per_sample * channels
    if len(payload) % width:
        raise AudioError(
            f"{len(payload)} bytes of {raw.value} in {channels} channel(s): not a multiple of "
            f"{width}; send whole samples of all channels in each message"
        )
    return len(payload) // width


def decode_samples(payload: bytes | memoryview, raw: RawFormat, channels: int) -> Audio:
    """Turn interleaved bytes into audio.

    Returns:
        audio: float32 [S, C] in [-1, 1]; FLOAT32 may go beyond.

    Raises:
        AudioError: A FLOAT32 sample is NaN or infinite.
    """
    if raw is RawFormat.FLOAT32:
        audio = np.frombuffer(payload, "<f4").astype(np.float32)
        if not np.isfinite(audio).all():
            raise AudioError("FLOAT32 audio holds NaN or infinity; expected numbers in [-1, 1]")
    elif raw is RawFormat.LINEAR16:
        audio = np.frombuffer(payload, "<i2") * _STEP
    else:
        table = mulaw_table() if raw is RawFormat.MULAW else alaw_table()
        audio = table[np.frombuffer(payload, np.uint8)] * _STEP
    return audio.reshape(-1, channels)


def encode_samples(audio: Audio, raw: RawFormat) -> bytes:
    """Turn audio float32 [S, C] into interleaved bytes; integers clip at full scale."""
    if raw is RawFormat.FLOAT32:
        return np.ascontiguousarray(audio, "<f4").tobytes()
    scaled = audio * _FULL_SCALE
    np.rint(scaled, out=scaled)
    np.minimum(np.maximum(scaled, -32768, out=scaled), 32767, out=scaled)
    samples = np.ascontiguousarray(scaled).astype("<i2")
    if raw is RawFormat.LINEAR16:
        return samples.tobytes()
    table = _mulaw_of() if raw is RawFormat.MULAW else _alaw_of()
    return table[samples.view(np.uint16)].tobytes()


@cache
def mulaw_table() -> npt.NDArray[np.int16]:
    """ITU-T G.711 mu-law: int16 [256], the value of each byte."""
    inverted = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (inverted >> 4 & 7).astype(np.int32), (inverted & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 132) << exponent) - 132
    return np.where(inverted & 128, -magnitude, magnitude).astype(np.int16)


@cache
def alaw_table() -> npt.NDArray[np.int16]:
    """ITU-T G.711 A-law: int16 [256], the value of each byte."""
    toggled = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (toggled >> 4 & 7).astype(np.int32), (toggled & 15).astype(np.int32)
    linear = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear, (linear + 256) << np.maximum(exponent - 1, 0))
    return np.where(toggled & 128, magnitude, -magnitude).astype(np.int16)


def _segments(magnitude: npt.NDArray[np.int32], lowest: int) -> npt.NDArray[np.int32]:
    """The G.711 segment 0 to 7 of each magnitude: how often it halves to reach `lowest` bits."""
    bits = np.frexp(magnitude.astype(np.float64))[1].astype(np.int32)
    return np.clip(bits - lowest, 0, 7)


@cache
def _mulaw_of() -> npt.NDArray[np.uint8]:
    """uint8 [65536]: the mu-law byte of an int16 sample read as uint16."""
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(samples), 32635) + 132
    segment = _segments(magnitude, 8)
    code = segment << 4 | (magnitude >> segment + 3 & 15)
    table: npt.NDArray[np.int32] = ~(np.where(samples < 0, 128, 0) | code) & 255
    return table.astype(np.uint8)


@cache
def _alaw_of() -> npt.NDArray[np.uint8]:
    """uint8 [65536]: the A-law byte of an int16 sample read as uint16."""
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(samples < 0, ~samples, samples) >> 3  # G.711 works on 13 bits
    segment = _segments(magnitude, 5)
    code = segment << 4 | (magnitude >> np.maximum(segment, 1) & 15)
    table: npt.NDArray[np.int32] = np.where(samples < 0, 0x55, 0xD5) ^ code
    return table.astype(np.uint8)
