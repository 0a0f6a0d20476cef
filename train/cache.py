"""Decoded audio on disk: every clip is read and resampled once, then memory-mapped."""

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from sotto.codec.atomic import atomic_path
from sotto.codec.errors import AudioError, CodecError
from sotto.codec.finite import check_finite


def clip_key(path: Path) -> str:
    """Names a clip by path, size and time: another recording in its place has another key.

    Raises:
        AudioError: The file is missing.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise AudioError(f"cannot read '{path}': {error.strerror}") from error
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    return hashlib.sha256(key.encode()).hexdigest()[:24]


class AudioCache:
    """Mono int16 audio at one rate, one ``.npy`` file per clip, named by path, size and time."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder = folder / str(sample_rate)
        self.sample_rate = sample_rate
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, path: Path) -> npt.NDArray[np.int16]:
        """The clip as int16 [S], memory-mapped; decoded first if it is not cached.

        Raises:
            AudioError: The file is missing, unreadable or holds no finite audio.
            CodecError: The cache cannot be written, because the disk is full for one.
        """
        file = self.folder / f"{clip_key(path)}.npy"
        with suppress(OSError, ValueError, EOFError):  # not there yet, or damaged
            return self._load(file)
        audio = self._decode(path)
        # Whole or not at all: a run that is stopped, or runs beside, never sees half a file.
        try:
            with atomic_path(file, CodecError) as part, part.open("wb") as out:
                np.save(out, audio, allow_pickle=False)
        except OSError as error:
            raise CodecError(
                f"cannot write '{file}': {error}; make room, or set dataset.cache to another disk"
            ) from error
        return self._load(file)

    def _load(self, file: Path) -> npt.NDArray[np.int16]:
        audio: npt.NDArray[np.int16] = np.load(file, mmap_mode="r", allow_pickle=False)
        return audio

    def _decode(self, path: Path) -> npt.NDArray[np.int16]:
        try:
            audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot decode '{path}': {error}") from error
        try:
            check_finite(audio, sample_rate=rate)
        except AudioError as error:
            raise AudioError(f"'{path}': {error}") from error
        mono = audio.mean(axis=1)
        if rate != self.sample_rate:
            mono = soxr.resample(mono, rate, self.sample_rate, quality="VHQ")
        scaled: npt.NDArray[np.int16] = np.clip(np.round(mono * 32767), -32768, 32767).astype(
            np.int16
        )
        return scaled
