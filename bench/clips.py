"""What all metrics share: one verdict on one clip, and the check of the pair they compare."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from sotto.codec.errors import AudioError, ShapeError

Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """One metric's verdict on one clip.

    Attributes:
        value: The score, or nan.
        reason: Why it is nan; empty for a number.
    """

    value: float
    reason: str = ""


def check_pair(reference: Audio, decoded: Audio, sample_rate: int) -> Audio:
    """Both clips as float32 [2, S].

    Raises:
        ShapeError: Not two mono clips of one length above 0.
        AudioError: Samples that are not finite, or no sample rate.
    """
    if reference.ndim != 1 or reference.shape != decoded.shape or reference.size == 0:
        raise ShapeError(
            f"reference has shape {reference.shape} and decoded audio {decoded.shape}; "
            "expected two mono clips [S] of one length, S > 0"
        )
    if sample_rate <= 0:
        raise AudioError(f"sample_rate={sample_rate}; expected Hz above 0")
    pair = np.stack([reference, decoded]).astype(np.float32)
    if not np.isfinite(pair).all():
        raise AudioError("audio holds NaN or infinity; metrics need finite samples")
    return pair


def resample_pair(reference: Audio, decoded: Audio, sample_rate: int, rate: int) -> Audio:
    """Checked clips at `rate` Hz, float32 [2, S at `rate`], by soxr's high-quality filter."""
    pair = check_pair(reference, decoded, sample_rate)
    if sample_rate == rate:
        return pair
    resampled: Audio = soxr.resample(pair.T, sample_rate, rate).T  # soxr wants [S, C]
    return np.ascontiguousarray(resampled)
