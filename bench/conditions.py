"""What can be wrong with speech, made from clean clips: noise, telephones, clipping, whisper."""

from collections.abc import Callable, Sequence

import librosa
import numpy as np
import numpy.typing as npt
import scipy.signal
import soxr

from .clips import Audio

Condition = Callable[[Audio, Sequence[Audio], int, np.random.Generator], Audio]
FRAME_S = 0.03  # of the whisper's filters
LPC_ORDER = 24


def level(audio: npt.NDArray[np.floating]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))


def _add(clip: Audio, other: npt.NDArray[np.floating], snr_db: float) -> Audio:
    """`other` under `clip`, so many dB below it; turned down together if that would clip."""
    gain = level(clip) / level(other) * 10 ** (-snr_db / 20)
    mixed = clip + gain * other
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max())), np.float32)


def _talk(others: Sequence[Audio], samples: int, talkers: int, start: int) -> Audio:
    """The sum of some other clips, repeated to a length."""
    chosen = [others[(start + i) % len(others)] for i in range(talkers)]
    talk: Audio = np.sum([np.resize(one / level(one), samples) for one in chosen], axis=0)
    return talk


def clean(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """As it is."""
    return clip


def quiet(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """30 dB down."""
    return np.asarray(clip * 10**-1.5, np.float32)


def shouted(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """Full scale, with the flatter spectrum of a raised voice: 6 dB more per octave to 4 kHz."""
    high = scipy.signal.lfilter(*scipy.signal.butter(1, 4000, "high", fs=rate), clip)
    tilted = clip * 0.2 + high
    return np.asarray(tilted / np.abs(tilted).max(), np.float32)


def clipped(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """A tenth of the samples flattened at full scale."""
    return np.asarray(np.clip(clip / np.quantile(np.abs(clip), 0.9), -1, 1), np.float32)


def telephone(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """300 to 3400 Hz, by way of 8 kHz."""
    narrow = soxr.resample(clip, rate, 8000)
    narrow = scipy.signal.sosfilt(
        scipy.signal.butter(4, (300, 3400), "band", fs=8000, output="sos"), narrow
    )
    return np.resize(soxr.resample(narrow, 8000, rate), clip.shape).astype(np.float32)


def white_noise(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """White noise 15 dB below."""
    return _add(clip, rng.standard_normal(clip.size), 15)


def babble(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """Four other talkers, together 10 dB below."""
    return _add(clip, _talk(others, clip.size, 4, int(rng.integers(len(others)))), 10)


def two_talkers(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """Another talker, as loud."""
    return _add(clip, _talk(others, clip.size, 1, int(rng.integers(len(others)))), 0)


def room(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """A reverberation of 0.6 s, direct sound and tail equally strong."""
    seconds = np.arange(int(0.6 * rate)) / rate
    tail = rng.standard_normal(seconds.size) * 10 ** (-3 * seconds / 0.6)
    return _add(clip, scipy.signal.fftconvolve(clip, tail)[: clip.size], 0)


def child(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """Pitch and formants a third higher, as from a shorter vocal tract."""
    return np.asarray(soxr.resample(clip, 4, 3), np.float32)


def whisper(clip: Audio, others: Sequence[Audio], rate: int, rng: np.random.Generator) -> Audio:
    """Noise through the clip's own vocal tract filters (linear prediction)."""
    size = int(FRAME_S * rate) // 2 * 2
    window = np.hanning(size)
    out = np.zeros(clip.size + size)
    for at in range(0, clip.size - size, size // 2):
        frame = np.asarray(clip[at : at + size], np.float64) * window
        if level(frame) < 1e-5:
            continue
        noise = scipy.signal.lfilter(
            [1.0], librosa.lpc(frame, order=LPC_ORDER), rng.standard_normal(size)
        )
        out[at : at + size] += window * noise * (level(frame) / level(window * noise))
    return np.asarray(out[: clip.size] / max(1.0, float(np.abs(out).max())), np.float32)


CONDITIONS: dict[str, Condition] = {
    "clean": clean,
    "quiet": quiet,
    "shouted": shouted,
    "clipped": clipped,
    "telephone": telephone,
    "white noise": white_noise,
    "babble": babble,
    "two talkers": two_talkers,
    "room": room,
    "child": child,
    "whisper": whisper,
}


def signals(rate: int) -> dict[str, Audio]:
    """Four seconds each of what is not speech, float32 [S]."""
    t = np.arange(4 * rate) / rate
    notes = [220, 277.2, 329.6, 440, 554.4, 659.3, 880, 440]
    music = np.concatenate(
        [
            sum(np.sin(2 * np.pi * k * note * part) / k for k in (1, 2, 3, 4)) * np.exp(-3 * part)
            for note, part in zip(notes, np.split(t % 0.5, 8), strict=True)
        ]
    )
    clicks = np.zeros(t.size)
    clicks[:: rate // 10] = 1.0
    return {
        "silence": np.zeros(t.size, np.float32),
        "music": (0.3 * music).astype(np.float32),
        "sweep": scipy.signal.chirp(t, 50, t[-1], 0.45 * rate, "log").astype(np.float32) * 0.5,
        "square wave": np.sign(np.sin(2 * np.pi * 200 * t)).astype(np.float32),
        "clicks": clicks.astype(np.float32),
    }
