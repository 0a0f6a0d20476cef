import math

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.bench.metrics import (
    BookUse,
    codebook_use,
    count_codes,
    dnsmos,
    dnsmos_change,
    mel_distance,
    metrics,
    pesq_wb,
    score_clip,
    si_sdr,
    visqol,
)
from sotto.bench.perceptual import PESQ_PIECE_S
from sotto.bench.sample import sample_clip
from sotto.codec.errors import AudioError, CodesError, ConfigError, ShapeError

METRICS = metrics()
BEST = {"pesq_wb": 4.644, "stoi": 1.0, "estoi": 1.0, "si_sdr_db": 100.0, "mel_distance": 0.0}
NEEDS_SPEECH = [metric for metric in METRICS if metric.name != "mel_distance"]


@pytest.fixture(scope="module")
def speech():
    audio, sample_rate = sample_clip()
    return audio[: 2 * sample_rate]


def noisy(speech, level):
    noise = np.random.default_rng(0).standard_normal(speech.size)
    return (speech + level * speech.std() * noise).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_identical_audio_gets_the_best_value(metric, speech):
    assert metric.compute(speech, speech, 24_000).value == pytest.approx(
        BEST[metric.name], abs=1e-3
    )


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_more_noise_is_worse(metric, speech):
    values = [metric.compute(speech, noisy(speech, x), 24_000).value for x in (0.0, 0.03, 0.3, 2.0)]
    if metric.higher_is_better:
        values.reverse()
    assert values == sorted(values)
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("metric", NEEDS_SPEECH, ids=lambda metric: metric.name)
def test_a_silent_reference_scores_nan_and_says_why(metric, speech):
    score = metric.compute(np.zeros_like(speech), speech, 24_000)
    assert math.isnan(score.value)
    assert "silent" in score.reason


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_silence_instead_of_speech_is_never_good(metric, speech):
    score = metric.compute(speech, np.zeros_like(speech), 24_000)
    noise = metric.compute(speech, noisy(speech, 2.0), 24_000)
    worse = score.value < noise.value if metric.higher_is_better else score.value > noise.value
    assert worse or score.reason == "the decoded audio is silent"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_length_gives_a_number_or_a_reason(metric, speech):
    for length in (1, 2, 479, 3000, 12_000):
        clip = speech[20_000 : 20_000 + length]
        score = metric.compute(clip, noisy(clip, 0.1), 24_000)
        assert math.isnan(score.value) == bool(score.reason)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_clips_that_cannot_be_compared_are_refused(metric, speech):
    broken = speech.copy()
    broken[100] = np.nan
    with pytest.raises(AudioError, match="NaN"):
        metric.compute(speech, broken, 24_000)
    with pytest.raises(ShapeError, match="one length"):
        metric.compute(speech, speech[:-1], 24_000)
    with pytest.raises(ShapeError, match="mono"):
        metric.compute(speech[None], speech[None], 24_000)
    with pytest.raises(ShapeError, match="S > 0"):
        metric.compute(speech[:0], speech[:0], 24_000)


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(1e-2, 10), offset=st.floats(-0.1, 0.1))
def test_si_sdr_ignores_gain_and_offset(gain, offset):
    rng = np.random.default_rng(1)
    reference = rng.standard_normal(4000).astype(np.float32)
    decoded = (reference + 0.3 * rng.standard_normal(4000)).astype(np.float32)
    plain = si_sdr(reference, decoded, 24_000).value
    changed = si_sdr(reference, (gain * decoded + offset).astype(np.float32), 24_000).value
    assert changed == pytest.approx(plain, abs=1e-2)


def test_si_sdr_is_the_ratio_of_signal_to_noise():
    rng = np.random.default_rng(2)
    reference, noise = rng.standard_normal((2, 100_000)).astype(np.float32)
    assert si_sdr(reference, reference + 0.1 * noise, 24_000).value == pytest.approx(20, abs=0.1)


def test_mel_distance_counts_a_twentieth_per_decibel(speech):
    louder = (speech * 10 ** (1 / 20)).astype(np.float32)
    loud = speech[6000:12_000], louder[6000:12_000]  # no silence, so nothing is clamped
    assert mel_distance(*loud, 24_000).value == pytest.approx(0.05, abs=0.003)


def test_pesq_judges_clips_longer_than_its_tables_allow(speech):
    bursts = np.tile(np.r_[speech[6000:12_000], np.zeros(6000, np.float32)], 80)  # 80 utterances
    assert bursts.size > PESQ_PIECE_S * 24_000
    assert pesq_wb(bursts, bursts, 24_000).value == pytest.approx(4.644, abs=1e-3)


def test_pesq_does_not_forgive_a_decoder_that_falls_silent_for_a_while(speech):
    long = np.tile(speech, 12)  # 24 s, judged in two pieces
    dropped = long.copy()
    dropped[long.size // 2 - 4000 :] = 0  # earlier, for the resampler rings
    assert pesq_wb(long, dropped, 24_000).reason == "the decoded audio is silent"


def test_pesq_leaves_out_pieces_without_speech(speech):
    long = np.r_[speech, np.zeros(38 * 24_000, np.float32)]
    assert pesq_wb(long, long, 24_000).value == pytest.approx(4.644, abs=1e-3)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_clip_scores_alike_at_another_sample_rate(metric, speech):
    pair = np.stack([speech, noisy(speech, 0.1)], axis=1)
    there = metric.compute(*pair.T, 24_000).value
    back = metric.compute(*soxr.resample(pair, 24_000, 48_000).T, 48_000).value
    assert back == pytest.approx(there, rel=0.02)


def test_a_clip_gets_every_metric_but_the_slow_ones(speech):
    scores = score_clip(speech, noisy(speech, 0.1), 24_000)
    assert list(scores) == [metric.name for metric in METRICS]
    assert "visqol" in [metric.name for metric in metrics(slow=("visqol",))]


@pytest.mark.slow
def test_visqol_is_five_for_identical_audio_and_falls_with_noise(speech):
    values = [visqol(speech, noisy(speech, x), 24_000).value for x in (0.0, 0.1, 1.0)]
    assert values[0] == pytest.approx(5, abs=1e-3)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 3


def test_visqol_says_why_it_cannot_judge(speech):
    assert "silent" in visqol(np.zeros_like(speech), speech, 24_000).reason
    assert "under" in visqol(speech[:2000], speech[:2000], 24_000).reason


def test_uniform_codes_use_a_book_fully_and_constant_codes_hardly():
    uniform, constant = np.tile(np.arange(16), 10), np.full(160, 3)
    uses = codebook_use(count_codes(np.stack([uniform, constant]), 16))
    assert uses == [BookUse(0, 1.0, 1.0, 160), BookUse(1, 1 / 16, 0.0, 160)]


def test_counts_of_clips_add_up():
    codes = np.random.default_rng(0).integers(0, 16, (2, 3, 50))
    apart = count_codes(codes[0], 16) + count_codes(codes[1], 16)
    assert np.array_equal(count_codes(codes, 16), apart)
    assert apart.sum(axis=1).tolist() == [100, 100, 100]


def test_a_book_without_codes_has_no_use():
    (use,) = codebook_use(count_codes(np.zeros((1, 0), np.int64), 16))
    assert use.num_tokens == 0
    assert math.isnan(use.used_share)
    assert math.isnan(use.entropy_share)


@pytest.mark.parametrize("codes", [[[-1]], [[16]]])
def test_codes_out_of_range_are_not_counted(codes):
    with pytest.raises(CodesError, match="expected 0 to 15"):
        count_codes(np.array(codes), 16)


def test_codes_of_another_shape_are_not_counted():
    with pytest.raises(ShapeError, match="expected"):
        count_codes(np.zeros(5, np.int64), 16)


def test_a_slow_metric_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"no slow metric \['nisqa'\]; there are"):
        metrics(slow=("nisqa",))


def test_dnsmos_falls_with_noise_and_does_not_compare(speech):
    coded = noisy(speech, 0.3)
    clean, bad = dnsmos(speech, speech, 24_000).value, dnsmos(speech, coded, 24_000).value
    assert 1 < bad < clean - 0.1 < 5
    assert dnsmos(coded, speech, 24_000).value == clean
    assert dnsmos_change(speech, coded, 24_000).value == pytest.approx(bad - clean)


def test_dnsmos_says_why_it_cannot_judge(speech):
    assert "silent" in dnsmos(speech, np.zeros_like(speech), 24_000).reason
    assert "silent" in dnsmos_change(np.zeros_like(speech), speech, 24_000).reason
    assert "under" in dnsmos(speech[:2000], speech[:2000], 24_000).reason


def test_dnsmos_takes_peaks_above_full_scale(speech):
    assert math.isfinite(dnsmos(speech, 100 * speech, 24_000).value)
