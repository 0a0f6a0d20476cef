"""What a recording is like: bandwidth, loudness, clipping, silence, duration."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyloudnorm
import soundfile
from scipy.signal.windows import blackmanharris

from sotto.codec.errors import AudioError
from sotto.codec.finite import check_finite

Audio = npt.NDArray[np.float32]

WINDOW_SECONDS = 0.04  # of the spectra that bandwidth is read from
BANDWIDTH_DB = 80.0  # what lies further below the strongest bin is not sound
SILENCE_DB = 40.0  # a frame this far below the loudest frames is silent
SILENT_DBFS = -70.0  # and below this whatever the rest
FULL_SCALE = 0.999  # of the largest sample: clipped, if such samples come in a row
FEWEST_IN_A_ROW = 3
SHORTEST_LOUDNESS_SECONDS = 0.4  # a block of ITU-R BS.1770


@dataclass(frozen=True)
class Measures:
    """One recording, measured at its own rate.

    Attributes:
        seconds: Duration.
        sample_rate: Hz.
        bandwidth_hz: Up to where there is sound; 0 in silence.
        loudness_lufs: Integrated loudness (ITU-R BS.1770), or None if too short or silent.
        clipped_share: Share of samples in flat tops, 0 to 1.
        silent_share: Share of 20 ms frames without sound, 0 to 1.
    """

    seconds: float
    sample_rate: int
    bandwidth_hz: float
    loudness_lufs: float | None
    clipped_share: float
    silent_share: float


def measure_file(path: Path) -> Measures:
    """Read and measure a recording; several channels are averaged.

    Raises:
        AudioError: It is missing, cannot be decoded, or is not finite.
    """
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AudioError(f"cannot read '{path}': {error}") from error
    try:
        check_finite(audio, sample_rate=rate)
    except AudioError as error:
        raise AudioError(f"'{path}': {error}") from error
    return measure(audio.mean(axis=1), rate)


def measure(audio: Audio, sample_rate: int) -> Measures:
    """Measure audio [S] at `sample_rate`."""
    return Measures(
        len(audio) / sample_rate,
        sample_rate,
        bandwidth(audio, sample_rate),
        loudness(audio, sample_rate),
        clipped_share(audio),
        silent_share(audio, sample_rate),
    )


def bandwidth(audio: Audio, sample_rate: int) -> float:
    """Highest frequency in Hz whose level is within `BANDWIDTH_DB` of the strongest.

    The level of a bin is its mean over the recording, so that a single click does not count.
    """
    size = 2 * int(WINDOW_SECONDS * sample_rate / 2)
    if len(audio) < size or not audio.any():
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[:: size // 2]
    power = np.square(np.abs(np.fft.rfft(frames * blackmanharris(size)))).mean(axis=0)
    heard = np.flatnonzero(power > power.max() * 10 ** (-BANDWIDTH_DB / 10))
    return float(heard[-1] * sample_rate / size)


def loudness(audio: Audio, sample_rate: int) -> float | None:
    """Integrated loudness in LUFS, or None if too short or silent to have one."""
    if len(audio) <= SHORTEST_LOUDNESS_SECONDS * sample_rate or not audio.any():
        return None
    with warnings.catch_warnings(), np.errstate(divide="ignore"):
        warnings.simplefilter("ignore")
        found = float(pyloudnorm.Meter(sample_rate).integrated_loudness(audio.astype(np.float64)))
    return found if math.isfinite(found) else None


def clipped_share(audio: Audio) -> float:
    """Share of samples in runs at the largest magnitude, which speech never holds by itself."""
    peak = float(np.abs(audio).max()) if len(audio) else 0.0
    if peak == 0:
        return 0.0
    count = 0
    for sign in (1, -1):
        edges = np.diff((sign * audio >= FULL_SCALE * peak).astype(np.int8), prepend=0, append=0)
        lengths = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
        count += int(lengths[lengths >= FEWEST_IN_A_ROW].sum())
    return count / len(audio)


def silent_share(audio: Audio, sample_rate: int) -> float:
    """Share of 20 ms frames far below the loudest frames, or all but without sound."""
    size = max(sample_rate // 50, 1)
    frames = audio[: len(audio) // size * size].reshape(-1, size)
    if not len(frames):
        return 0.0
    level = 10 * np.log10(np.square(frames.astype(np.float64)).mean(axis=1) + 1e-12)
    loud = float(np.percentile(level, 95))
    return float((level < max(loud - SILENCE_DB, SILENT_DBFS)).mean())
