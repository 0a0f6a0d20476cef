"""What may happen to a crop on its way into training: noise, a room, a narrow line."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve, firwin

from .config_data import AugmentConfig

Audio = npt.NDArray[np.float32]

DIRECT_SECONDS = 0.002  # from a room's strongest sample on, the reflections begin
TAPS = 255  # of the band limit


class Augmenter:
    """Noise, rooms and band limits, each with its own chance; all decided by the generator given.

    What comes out is also what the codec shall reproduce.
    """

    def __init__(
        self, config: AugmentConfig, sample_rate: int, noise: Sequence[npt.NDArray[np.int16]]
    ) -> None:
        self.config = config
        self.sample_rate = sample_rate
        self.noise = [recording for recording in noise if len(recording)]

    def __call__(
        self, audio: Audio, bandwidth_hz: float, random: np.random.Generator
    ) -> tuple[Audio, float]:
        """Audio [S] with what happened to it, and the bandwidth that is left."""
        dice = random.random(3)  # always three, so that one share does not move the others
        if dice[0] < self.config.room_share:
            audio = self._room(audio, random)
        if dice[1] < self.config.noise_share:
            audio = self._noise(audio, random)
            bandwidth_hz = self.sample_rate / 2
        if dice[2] < self.config.narrow_share:
            edge = random.uniform(self.config.min_narrow_hz, self.config.max_narrow_hz)
            if edge < min(bandwidth_hz, self.sample_rate / 2):
                audio, bandwidth_hz = self._narrow(audio, edge), edge
        return audio, bandwidth_hz

    def _room(self, audio: Audio, random: np.random.Generator) -> Audio:
        """In a room of exponentially decaying reflections, at the level it had."""
        seconds = random.uniform(self.config.min_room_seconds, self.config.max_room_seconds)
        time = np.arange(int(seconds * self.sample_rate)) / self.sample_rate
        reflections = random.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
        reflections[: int(DIRECT_SECONDS * self.sample_rate)] = 0
        reflections *= random.uniform(0.1, 1.0) / max(float(np.linalg.norm(reflections)), 1e-9)
        reflections[0] = 1.0
        wet: npt.NDArray[np.float64] = fftconvolve(audio, reflections)[: len(audio)]
        return (wet * (_level(audio) / max(_level(wet), 1e-9))).astype(np.float32)

    def _noise(self, audio: Audio, random: np.random.Generator) -> Audio:
        """With noise at a random ratio: recorded noise if there is some, pink noise if not."""
        ratio = random.uniform(self.config.min_snr_db, self.config.max_snr_db)
        noise = self._recorded(len(audio), random) if self.noise else _pink(len(audio), random)
        scale = _level(audio) / max(_level(noise), 1e-9) * 10 ** (-ratio / 20)
        return (audio + scale * noise).astype(np.float32)

    def _recorded(self, count: int, random: np.random.Generator) -> Audio:
        recording = self.noise[int(random.integers(len(self.noise)))]
        start = int(random.integers(max(len(recording) - count, 0) + 1))
        piece = recording[start : start + count].astype(np.float32) / 32768
        return np.resize(piece, count)  # a short one is repeated

    def _narrow(self, audio: Audio, edge: float) -> Audio:
        """Nothing above `edge` Hz."""
        taps = firwin(TAPS, edge, fs=self.sample_rate, window=("kaiser", 8.0))
        limited: Audio = fftconvolve(audio, taps, mode="same").astype(np.float32)
        return limited


def _level(audio: npt.NDArray[Any]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(audio, dtype=np.float64).mean()))


def _pink(count: int, random: np.random.Generator) -> Audio:
    """Noise whose power falls by 3 dB an octave."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return np.fft.irfft(spectrum, count).astype(np.float32)
