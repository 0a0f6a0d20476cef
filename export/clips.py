"""Clips as one signal at the rate of a model, to check or calibrate its graphs on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sotto.codec.audio import read_audio
from sotto.codec.resampling import StreamResampler

from .arrays import Audio
from .bundles import read_info


def join_clips(paths: Sequence[Path], bundle: Path) -> Audio:
    """Clips one after the other, averaged to mono, float32 [1, 1, S] at the rate of a bundle.

    Raises:
        AudioError: A file is missing or unreadable.
        BundleError: No bundle there.
    """
    rate = read_info(bundle).sample_rate
    rows = []
    for path in paths:
        audio, stored_rate = read_audio(path)
        resampler = StreamResampler(stored_rate, rate)
        rows += [resampler.push(audio.mean(axis=1)), resampler.flush()]
    return np.concatenate(rows)[None, None]
