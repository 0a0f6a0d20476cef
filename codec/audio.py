"""Audio files, read and written in blocks; needs no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .atomic import atomic_path
from .errors import AudioError, ShapeError
from .finite import check_finite
from .rates import check_sample_rate
from .resampling import StreamResampler
from .segments import Audio

__all__ = [
    "Audio",
    "AudioInfo",
    "AudioWriter",
    "StreamResampler",
    "check_finite",
    "create_audio",
    "output_format",
    "read_audio",
    "read_blocks",
    "read_info",
    "write_audio",
]

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
MAX_WAV_BYTES = 0xFFFF_0000  # sizes in a WAV header have 32 bits; RF64 goes beyond


@dataclass(frozen=True)
class AudioInfo:
    """What an audio file says about itself.

    Attributes:
        sample_rate: Hz.
        channels: Channels.
        num_samples: Samples per channel. Compressed files may hold fewer than they claim.
        format: Container and sample format, for example ``WAV PCM_16``.
    """

    sample_rate: int
    channels: int
    num_samples: int
    format: str


def read_info(path: str | Path) -> AudioInfo:
    """Read what an audio file says about itself, and no samples.

    Raises:
        AudioError: Missing, unreadable, not audio, or a sample rate out of range.
    """
    with _open(path) as file:
        return _info(path, file)


def read_blocks(path: str | Path, block_samples: int) -> tuple[AudioInfo, Iterator[Audio]]:
    """Open an audio file and read it in blocks, so that its length does not matter.

    Args:
        path: Anything soundfile reads: wav, flac, ogg, opus, mp3, aiff and more.
        block_samples: Samples per block; the last one may be shorter.

    Returns:
        info: What the file says about itself.
        blocks: float32 [n, C] each; the file closes after the last.

    Raises:
        AudioError: At once if the file is missing, unreadable, not audio, or has a sample rate
            out of range; from the iterator if a block is damaged or not finite.
    """
    if block_samples < 1:
        raise AudioError(f"block_samples={block_samples}; expected at least 1")
    return read_info(path), _blocks(path, block_samples)


def read_audio(path: str | Path) -> tuple[Audio, int]:
    """Read a whole audio file.

    Returns:
        audio: float32 [S, C].
        sample_rate: Hz.

    Raises:
        AudioError: See `read_blocks`.
    """
    info, blocks = read_blocks(path, 1 << 16)
    empty = np.zeros((0, info.channels), np.float32)
    return np.concatenate([empty, *blocks]), info.sample_rate


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read forwards.

    soundfile seeks to where it is after every read of a seekable file, and that spoils mp3 files,
    whose frames lean on those before them.
    """

    def seekable(self) -> bool:
        return False


def _open(path: str | Path) -> soundfile.SoundFile:
    if not Path(path).is_file():
        raise AudioError(f"no audio file at {path}; expected a wav, flac, ogg, opus or mp3 file")
    try:
        return _Sequential(str(path))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw
        raise AudioError(
            f"cannot read {path}: {error}; expected a wav, flac, ogg, opus or mp3 file"
        ) from error


def _info(path: str | Path, file: soundfile.SoundFile) -> AudioInfo:
    check_sample_rate(file.samplerate, f"{path}: sample_rate")
    return AudioInfo(
        file.samplerate, file.channels, max(file.frames, 0), f"{file.format} {file.subtype}"
    )


def _blocks(path: str | Path, block_samples: int) -> Iterator[Audio]:
    sample = 0
    with _open(path) as file:
        while True:
            try:
                block: Audio = file.read(block_samples, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise AudioError(f"{path}: damaged after sample {sample}: {error}") from error
            if not len(block):
                return
            try:
                check_finite(block, sample, file.samplerate)
            except AudioError as error:
                raise AudioError(f"{path}: {error}") from error
            yield block
            sample += len(block)


class AudioWriter:
    """An open audio file; `create_audio` makes one.

    Attributes:
        num_samples: Samples per channel written so far.
    """

    def __init__(self, file: soundfile.SoundFile) -> None:
        self.num_samples = 0
        self._file = file

    def write(self, audio: Audio) -> None:
        """Append float32 [n, C], or [n] if the file is mono; values outside [-1, 1] are clipped.

        Raises:
            ShapeError: Another number of channels.
            AudioError: NaN or infinity, a full disk, or more than a WAV file can hold.
        """
        channels = self._file.channels
        if audio.shape[1:] != (channels,) and not (audio.ndim == 1 and channels == 1):
            raise ShapeError(f"audio has shape {audio.shape}; expected [n, {channels}]")
        check_finite(audio, self.num_samples)
        samples = self.num_samples + len(audio)
        if self._file.format == "WAV" and samples * channels * 2 > MAX_WAV_BYTES:
            raise AudioError("more than 4 GiB do not fit a WAV file; write .flac")
        try:
            self._file.write(np.clip(audio, -1.0, 1.0))
        except soundfile.SoundFileError as error:
            raise AudioError(f"cannot write {self._file.name}: {error}") from error
        self.num_samples = samples


@contextmanager
def create_audio(
    path: str | Path, sample_rate: int, channels: int = 1, num_samples: int = 0
) -> Iterator[AudioWriter]:
    """A writer of 16-bit wav or flac for `path`, which appears only if the block ends well.

    Args:
        path: Its ending decides the format: .wav or .flac.
        sample_rate: Hz.
        channels: Channels.
        num_samples: Samples per channel to come, if known; a wav file that would be larger than
            4 GiB is then written as RF64.

    Raises:
        AudioError: Another ending, a sample rate out of range, or `path` cannot be written.
    """
    check_sample_rate(sample_rate)
    container = output_format(path)
    if container == "WAV" and num_samples * channels * 2 > MAX_WAV_BYTES:
        container = "RF64"
    with atomic_path(path, AudioError) as temporary:
        try:
            file = soundfile.SoundFile(
                str(temporary), "w", sample_rate, channels, "PCM_16", format=container
            )
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"cannot write {channels} channels at {sample_rate} Hz to {path}: {error}"
            ) from error
        with file:
            yield AudioWriter(file)
        if not temporary.stat().st_size:  # libsndfile begins a flac file with its first sample
            raise AudioError(f"no samples for {path}: an empty file needs the ending .wav")


def output_format(path: str | Path) -> str:
    """The container that the ending of `path` asks for; AudioError if Sotto does not write it."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise AudioError(
            f"cannot write {path}: expected a name that ends in {' or '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def write_audio(path: str | Path, audio: Audio, sample_rate: int) -> None:
    """Write float32 [S] or [S, C] as a 16-bit wav or flac file.

    Raises:
        AudioError: See `create_audio` and `AudioWriter.write`.
    """
    channels = 1 if audio.ndim == 1 else audio.shape[1]
    with create_audio(path, sample_rate, channels, len(audio)) as writer:
        writer.write(audio)
