"""Clips as one signal for a model."""

import json

import numpy as np

from sotto.codec.audio import write_audio
from sotto.export.clips import join_clips


def test_clips_of_any_rate_become_one_signal(tiny_bundle, tmp_path):
    write_audio(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    write_audio(tmp_path / "b.wav", np.zeros((24_000, 2), np.float32), 48_000)
    speech = join_clips([tmp_path / "a.wav", tmp_path / "b.wav"], tiny_bundle)
    rate = json.loads((tiny_bundle / "config.json").read_text())["info"]["sample_rate"]
    assert speech.shape == (1, 1, rate + rate // 2)
