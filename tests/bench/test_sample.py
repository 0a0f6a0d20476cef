from pathlib import Path

import numpy as np

from sotto.bench import sample
from sotto.bench.sample import sample_clip


def test_the_packaged_clip_is_a_few_seconds_of_level_speech():
    audio, sample_rate = sample_clip()
    assert sample_rate == 24_000
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert 5 < audio.size / sample_rate < 10
    assert 0.5 < np.abs(audio).max() < 0.9


def test_the_packaged_clip_is_small():
    file = Path(sample.__file__).parent / "data" / "sample.flac"
    assert file.stat().st_size < 300_000
