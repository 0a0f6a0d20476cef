"""Models of hearing: PESQ, STOI, ESTOI, ViSQOL and DNSMOS, by the packages that papers use."""

import math
import warnings
from functools import cache
from typing import Any

import numpy as np
import pesq as pesq_package
import pystoi

from .clips import Audio, Score, check_pair, resample_pair

PESQ_RATE = VISQOL_RATE = DNSMOS_RATE = 16_000
PESQ_PIECE_S = 20  # 50 utterances, the most its C code has room for, cannot fit in 20 s
STOI_MIN_S = 0.4  # 30 frames of 256 samples, half overlapping, at 10 kHz
VISQOL_MIN_S = 1.0
MUTED = Score(math.nan, "the decoded audio is silent")


def pesq_wb(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """Wide-band PESQ as MOS-LQO, about 1.02 (worst) to 4.64 (identical).

    ITU-T P.862.2 by the `pesq` package at 16 kHz, without the later Corrigendum 2, which is what
    papers on codecs report. It time-aligns and levels utterances itself. A clip over 20 s is cut
    into equal pieces of at most 20 s and scored by the mean of those with speech, because the
    package's C code overruns its tables at more than 50 utterances.

    Args:
        reference: float32 [S].
        decoded: float32 [S].
        sample_rate: Hz of both.

    Returns:
        nan if no speech is found, the clip is under a quarter of a second or the decoded audio
        is silent (all of it, or a piece in which the reference speaks).

    Raises:
        ShapeError: Not two clips of equal length.
        AudioError: Values that are not finite.

    Reference: A. Rix et al., Perceptual evaluation of speech quality, ICASSP 2001.
    """
    pair = resample_pair(reference, decoded, sample_rate, PESQ_RATE)
    pieces = max(1, math.ceil(pair.shape[1] / (PESQ_PIECE_S * PESQ_RATE)))
    scores = [_pesq_piece(piece) for piece in np.array_split(pair, pieces, axis=1)]
    if MUTED in scores:  # leaving those pieces out would praise a decoder that falls silent
        return MUTED
    values = [score.value for score in scores if not score.reason]
    return Score(float(np.mean(values))) if values else scores[0]


def stoi(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """Short-time objective intelligibility, 0 (none) to 1 (identical); may fall slightly below 0.

    By `pystoi`, which resamples to 10 kHz itself: what lies above 5 kHz is not heard. Frames in
    which the reference is 40 dB below its loudest are left out. ESTOI adds noise of 1e-16, so the
    last digits of two runs differ.

    Args:
        reference: float32 [S].
        decoded: float32 [S].
        sample_rate: Hz of both.

    Returns:
        nan if the reference is silent or has less than 0.4 s of sound.

    Raises:
        ShapeError: Not two clips of equal length.
        AudioError: Values that are not finite.

    Reference: C. Taal et al., An algorithm for intelligibility prediction of time-frequency
        weighted noisy speech, IEEE TASLP 19(7), 2011.
    """
    return _stoi(reference, decoded, sample_rate, extended=False)


def estoi(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """Extended STOI, 0 (none) to 1 (identical); also falls for noise that comes and goes.

    Arguments, results and errors are those of `stoi`.

    Reference: J. Jensen, C. Taal, An algorithm for predicting the intelligibility of speech
        masked by modulated noise maskers, IEEE/ACM TASLP 24(11), 2016.
    """
    return _stoi(reference, decoded, sample_rate, extended=True)


def visqol(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """ViSQOL v3 in speech mode as MOS-LQO, 1 (worst) to 5 (identical).

    By `visqol-python` at 16 kHz with the polynomial mapping scaled to 5, not the lattice model,
    whose values differ. It aligns and levels the clips itself.

    Args:
        reference: float32 [S].
        decoded: float32 [S].
        sample_rate: Hz of both.

    Returns:
        nan if a clip is silent, is under a second or has too little speech to compare.

    Raises:
        ShapeError: Not two clips of equal length.
        AudioError: Values that are not finite.

    Reference: M. Chinen et al., ViSQOL v3: an open source production ready objective speech and
        audio metric, QoMEX 2020.
    """
    pair = resample_pair(reference, decoded, sample_rate, VISQOL_RATE)
    if pair.shape[1] < VISQOL_MIN_S * VISQOL_RATE:
        return Score(math.nan, f"the clip is under {VISQOL_MIN_S:g} s")
    if not pair.any(axis=1).all():
        return Score(math.nan, "the reference or the decoded audio is silent")
    try:
        result = _visqol_api().measure_from_arrays(*pair.astype(np.float64), VISQOL_RATE)
    except (IndexError, ValueError) as error:
        return Score(math.nan, f"ViSQOL found too little speech to compare: {error}")
    return Score(float(result.moslqo))


def dnsmos(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """DNSMOS P.835 overall quality of the decoded clip, 1 (bad) to 5 (excellent).

    By `speechmos` at 16 kHz, which loops clips under 9 s. It does not compare: a clean original
    has about 3 to 3.5, and a codec can be above its original (see `dnsmos_change`).

    Arguments and errors are those of `visqol`.

    Returns:
        nan if the decoded audio is silent or the clip is under a second.

    Reference: C. K. A. Reddy et al., DNSMOS P.835: a non-intrusive perceptual objective speech
        quality metric to evaluate noise suppressors, ICASSP 2022.
    """
    return _dnsmos(resample_pair(reference, decoded, sample_rate, DNSMOS_RATE)[1])


def dnsmos_change(reference: Audio, decoded: Audio, sample_rate: int) -> Score:
    """DNSMOS overall of the decoded clip less that of its original; see `dnsmos`."""
    scores = [_dnsmos(clip) for clip in resample_pair(reference, decoded, sample_rate, DNSMOS_RATE)]
    if reason := next((score.reason for score in scores if score.reason), ""):
        return Score(math.nan, reason)
    return Score(scores[1].value - scores[0].value)


def _pesq_piece(pair: Audio) -> Score:
    reference, decoded = pair
    if not reference.any():
        return Score(math.nan, "no speech: the reference is silent")
    if not decoded.any():
        return MUTED
    try:
        return Score(float(pesq_package.pesq(PESQ_RATE, reference, decoded, "wb")))
    except pesq_package.NoUtterancesError:
        return Score(math.nan, "no speech: PESQ found no utterance in the reference")
    except pesq_package.BufferTooShortError:
        return Score(math.nan, "the clip is under a quarter of a second")


def _stoi(reference: Audio, decoded: Audio, sample_rate: int, *, extended: bool) -> Score:
    reference, decoded = check_pair(reference, decoded, sample_rate)
    if not reference.any():
        return Score(math.nan, "the reference is silent")
    too_short = Score(math.nan, f"the reference has less than {STOI_MIN_S:g} s of sound")
    if reference.size < STOI_MIN_S * sample_rate:
        return too_short
    try:
        with warnings.catch_warnings():  # pystoi warns and returns 1e-5; here it has to say why
            warnings.simplefilter("error", RuntimeWarning)
            return Score(float(pystoi.stoi(reference, decoded, sample_rate, extended=extended)))
    except RuntimeWarning:
        return too_short


def _dnsmos(clip: Audio) -> Score:
    if clip.size < DNSMOS_RATE:
        return Score(math.nan, "the clip is under 1 s")
    if not clip.any():
        return Score(math.nan, "the audio is silent")
    from speechmos import dnsmos as speechmos  # loads librosa and two graphs: only when wanted

    return Score(float(speechmos.run(clip.clip(-1, 1), DNSMOS_RATE)["ovrl_mos"]))


@cache
def _visqol_api() -> Any:
    from visqol.api import VisqolApi  # compiles for some seconds, so only when it is wanted

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=False)
    return api
