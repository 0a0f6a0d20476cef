"""Stress: conditions are what they say, and the measures hear what they should."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sotto.bench.conditions import CONDITIONS, level, signals
from sotto.bench.sample import sample_clip
from sotto.bench.stress import burst_db, click_db, level_db, stress, stress_table
from sotto.codec.errors import AudioError
from sotto.export.runtime import Codec

RATE = 24_000


@pytest.fixture(scope="module")
def clip():
    audio, _ = sample_clip()
    return audio[RATE : 3 * RATE]


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_every_condition_is_audible_audio_and_the_same_again(clip, name):
    made, again = (
        CONDITIONS[name](clip, [clip[::-1].copy()], RATE, np.random.default_rng(1))
        for _ in range(2)
    )
    assert made.dtype == np.float32
    assert np.array_equal(made, again)
    assert np.abs(made).max() <= 1.0001
    assert level(made) > 1e-3
    if name != "child":
        assert made.shape == clip.shape
    if name != "clean":
        assert made.shape != clip.shape or not np.allclose(made, clip, atol=1e-3)


def spectrum_share(audio, low, high):
    power = np.abs(np.fft.rfft(audio)) ** 2
    hertz = np.fft.rfftfreq(audio.size, 1 / RATE)
    return power[(hertz >= low) & (hertz < high)].sum() / power.sum()


def test_a_telephone_has_no_top_and_no_bottom(clip):
    made = CONDITIONS["telephone"](clip, [], RATE, np.random.default_rng(0))
    assert spectrum_share(made, 250, 3600) > 0.98


def test_a_whisper_keeps_its_levels_and_has_no_pitch(clip):
    made = CONDITIONS["whisper"](clip, [], RATE, np.random.default_rng(0))

    def pitch_strength(audio):
        frames = audio[: audio.size // 960 * 960].reshape(-1, 960)
        loud = frames[np.square(frames).mean(1) > np.square(audio).mean()]
        spectra = np.abs(np.fft.rfft(loud, 1920)) ** 2
        correlation = np.fft.irfft(spectra)[:, 60:400].max(1) / np.fft.irfft(spectra)[:, 0]
        return correlation.mean()

    assert pitch_strength(made) < 0.75 * pitch_strength(clip)
    assert level(made) == pytest.approx(level(clip), rel=0.4)


def test_a_perfect_codec_has_nothing_to_answer_for(clip):
    assert level_db(clip, clip) == pytest.approx(0)
    assert burst_db(clip, clip, RATE) <= 0
    assert click_db(clip, clip) == pytest.approx(0)


def test_level_bursts_and_clicks_are_heard(clip):
    assert level_db(clip, 0.5 * clip) == pytest.approx(-6.02, abs=0.01)
    silence = np.zeros(RATE, np.float32)
    burst = silence.copy()
    burst[10_000:10_480] = 0.1
    assert burst_db(silence, burst, RATE) == pytest.approx(40, abs=3.1)  # 0.1 over -60 dBFS
    clicked = clip.copy()
    clicked[20_000] += 1.0
    assert click_db(clip, clicked) > 6
    assert math.isnan(level_db(silence, burst))
    assert math.isnan(click_db(silence, burst))


def test_stress_covers_speech_and_signals(tiny_bundle: Path, clip, tmp_path: Path):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, clip, RATE)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    listen = tmp_path / "listen"
    rows = stress(Codec(tiny_bundle), tmp_path, 400, max_clips=3, listen=listen)
    assert [row.condition for row in rows] == [*CONDITIONS, *signals(RATE)]
    by_name = {row.condition: row for row in rows}
    assert math.isnan(by_name["silence"].level_db)
    assert math.isnan(by_name["music"].stoi)
    assert -1 <= by_name["clean"].stoi <= 1
    assert len(list(listen.glob("*.wav"))) == 2 * len(rows)
    assert stress_table(rows, 400).row_count == len(rows)


def test_a_folder_without_audio_is_refused(tiny_bundle: Path, tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match="none of 1 files"):
        stress(Codec(tiny_bundle), tmp_path, 400)
