"""Distances between signals: SI-SDR on the waveform, log-mel on the spectrum."""

import math
from functools import cache

import librosa
import numpy as np

from .clips import Audio, Score, check_pair, resample_pair

MEL_RATE = 24_000
MEL_SCALES = ((512, 40), (1024, 80), (2048, 160))  # (window, mel bands)
MEL_FLOOR = 1e-5
SI_SDR_LIMIT_DB = 100.0


def si_sdr(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """Scale-invariant signal-to-distortion ratio in dB, cut at -100 and 100 (identical).

    Both clips lose their mean; the reference is scaled to fit the decoded clip best; the ratio
    is the power of that fit over the power of what is left. It punishes any change of phase, so
    a decoder that sounds good can score low.

    Args:
        reference: float32 [S].
        decoded: float32 [S]; silence scores -100.
        sample_rate: Hz; not used, so that all metrics are called alike.

    Returns:
        nan if the reference is silent.

    Raises:
        ShapeError: Not two clips of equal length.
        AudioError: Values that are not finite.

    Reference: J. Le Roux et al., SDR - half-baked or well done?, ICASSP 2019.
    """
    pair = check_pair(reference, decoded, sample_rate).astype(np.float64)
    ref, dec = pair - pair.mean(axis=1, keepdims=True)
    power = ref @ ref
    if power == 0:
        return Score(math.nan, "the reference is silent")
    fit = (ref @ dec) / power * ref
    left = dec - fit
    ratio = _ratio_db(fit @ fit, left @ left)
    return Score(min(max(ratio, -SI_SDR_LIMIT_DB), SI_SDR_LIMIT_DB))


def mel_distance(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """Multi-scale log-mel distance, 0 (identical) upwards; 0.05 is one decibel.

    At 24 kHz, over Hann windows of 512, 1024 and 2048 samples with hops of a quarter window,
    centred frames and zero padding: magnitude spectra through 40, 80 and 160 Slaney mel bands
    (area-normalised, 0 to 12 kHz), clamped at 1e-5, log10; mean absolute difference over bands
    and frames; mean over the three scales. The mel distances of DAC, ESC and others differ from
    this one and from each other.

    Args:
        reference: float32 [S].
        decoded: float32 [S].
        sample_rate: Hz of both.

    Returns:
        Never nan for S > 0.

    Raises:
        ShapeError: Not two clips of equal length.
        AudioError: Values that are not finite.
    """
    pair = resample_pair(reference, decoded, sample_rate, MEL_RATE)
    scales = []
    for window, bands in MEL_SCALES:
        ref, dec = (_log_mel(clip, window, bands) for clip in pair)
        scales.append(np.abs(ref - dec).mean())
    return Score(float(np.mean(scales)))


def _ratio_db(signal: float, noise: float) -> float:
    """10 log10(signal / noise); no signal is the worst, even without noise."""
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise) if noise else math.inf


def _log_mel(clip: Audio, window: int, bands: int) -> Audio:
    """log10 mel spectrum [frames, bands] of a clip [S]."""
    padded = np.pad(clip, window // 2 + 1)  # room for one frame, even around a single sample
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[:: window // 4]
    spectrum = np.abs(np.fft.rfft(frames * _hann(window), axis=1)).astype(np.float32)
    mel: Audio = np.maximum(spectrum @ _mel_filters(window, bands), MEL_FLOOR)
    return np.log10(mel)


@cache
def _hann(window: int) -> Audio:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)


@cache
def _mel_filters(window: int, bands: int) -> Audio:
    filters: Audio = librosa.filters.mel(sr=MEL_RATE, n_fft=window, n_mels=bands)
    return np.ascontiguousarray(filters.T)  # [bins, bands]
