"""FLAC, Ogg Opus and WAV recordings in memory, read and written a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Any, Final

import soundfile

from sotto.codec.errors import AudioError

from .errors import LimitError
from .formats import Audio, RawFormat, encode_samples

OPUS_RATES: Final = (8000, 12000, 16000, 24000, 48000)


class Container(Enum):
    """A file format that names its own rate and channels; the value is its name on the wire."""

    FLAC = "FLAC"
    OGG_OPUS = "OGG_OPUS"
    WAV = "WAV"


@dataclass(frozen=True)
class _Kind:
    """How libsndfile knows a container."""

    magics: tuple[bytes, ...]
    formats: tuple[str, ...]
    subtype: str


_KINDS: Final = {
    Container.FLAC: _Kind((b"fLaC",), ("FLAC",), "PCM_16"),
    Container.OGG_OPUS: _Kind((b"OggS",), ("OGG",), "OPUS"),
    Container.WAV: _Kind((b"RIFF", b"RF64"), ("WAV", "WAVEX", "RF64"), "PCM_16"),
}


class _Buffer(BytesIO):
    """Bytes that stay readable until their last user is gone.

    An abandoned SoundFile and its buffer are a cycle that the collector takes apart in any order,
    and a worker may still be inside the file when its call ends: so the buffer is never closed,
    and the file closes itself when nobody holds it.
    """

    def close(self) -> None:
        """Stay open."""


class Recording:
    """A recording that was opened and not yet decoded.

    A few kilobytes can unfold into hours, so nothing is believed that the header says about the
    length: samples are decoded a block at a time, and the caller stops when it is too much.
    """

    def __init__(self, payload: bytes, container: Container) -> None:
        """Open `payload`.

        Raises:
            AudioError: It is not a recording of that format.
        """
        kind = _KINDS[container]
        if not payload.startswith(kind.magics):
            raise AudioError(
                f"the {len(payload)} bytes of audio do not begin like {container.value}"
            )
        try:
            self._file: Any = soundfile.SoundFile(_Buffer(payload))
        except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
            raise AudioError(f"the {container.value} audio cannot be read: {error}") from error
        if self._file.format not in kind.formats:
            raise AudioError(f"expected {container.value} audio, got {self._file.format}")
        if container is Container.OGG_OPUS and self._file.subtype != "OPUS":
            raise AudioError(f"expected Opus in the Ogg file, got {self._file.subtype}")

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return int(self._file.samplerate)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self._file.channels)

    def blocks(self, block_samples: int) -> Iterator[Audio]:
        """Decode float32 [S, C], S at most `block_samples`, until the end.

        Raises:
            AudioError: The recording is damaged.
        """
        while True:
            try:
                audio: Audio = self._file.read(block_samples, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise AudioError(f"the audio is damaged: {error}") from error
            if not len(audio):
                return
            yield audio


class RawWriter:
    """Collects audio as headerless samples, at most `max_bytes` bytes of them."""

    def __init__(self, raw: RawFormat, max_bytes: int) -> None:
        self._raw, self._max_bytes, self._buffer = raw, max_bytes, bytearray()

    def write(self, audio: Audio) -> None:
        """Append float32 [S, C].

        Raises:
            LimitError: The audio outgrew `max_bytes`.
        """
        self._buffer += encode_samples(audio, self._raw)
        check_size(len(self._buffer), self._max_bytes)

    def close(self) -> bytes:
        """Give the bytes."""
        return bytes(self._buffer)


class RecordingWriter:
    """Collects audio into a recording of at most `max_bytes` bytes."""

    def __init__(
        self, container: Container, sample_rate: int, channels: int, max_bytes: int
    ) -> None:
        """Begin an empty recording.

        Raises:
            AudioError: The format does not know that rate or that many channels.
        """
        kind = _KINDS[container]
        if container is Container.OGG_OPUS and sample_rate not in OPUS_RATES:
            rates = ", ".join(map(str, OPUS_RATES))
            raise AudioError(f"OGG_OPUS at {sample_rate} Hz; choose one of {rates}")
        self._buffer, self._max_bytes = _Buffer(), max_bytes
        try:
            self._file: Any = soundfile.SoundFile(
                self._buffer, "w", sample_rate, channels, kind.subtype, format=kind.formats[0]
            )
        except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
            raise AudioError(
                f"no {container.value} of {channels} channels at {sample_rate} Hz: {error}"
            ) from error

    def write(self, audio: Audio) -> None:
        """Append float32 [S, C].

        Raises:
            LimitError: The recording outgrew `max_bytes`.
        """
        self._file.write(audio)
        self._check()

    def close(self) -> bytes:
        """Finish the recording and give its bytes.

        Raises:
            LimitError: The recording outgrew `max_bytes`.
        """
        self._file.close()
        self._check()
        return self._buffer.getvalue()

    def _check(self) -> None:
        check_size(self._buffer.getbuffer().nbytes, self._max_bytes)


def check_size(
    size: int, max_bytes: int, what: str = "decoded audio is", instead: str = "StreamingDecode"
) -> None:
    """Raise LimitError if a unary answer of `size` bytes is too large."""
    if size > max_bytes:
        raise LimitError(f"the {what} over {max_bytes} bytes; use {instead}, or a smaller format")
