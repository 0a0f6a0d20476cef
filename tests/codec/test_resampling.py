"""The resampler's state can be rebuilt elsewhere: same output, to the bit, however it is cut."""

import numpy as np
import pytest
import soxr

from sotto.codec.audio import StreamResampler
from sotto.codec.segments import Plan

PAIRS = [(8_000, 24_000), (48_000, 24_000), (44_100, 24_000), (24_000, 22_050), (24_000, 16_000)]


def noise(rate, seconds=1.9):
    samples = np.random.default_rng(0).standard_normal(int(rate * seconds))
    return (0.1 * samples).astype(np.float32)


def run(resampler, audio, chunk):
    pieces = np.split(audio, range(chunk, len(audio), chunk)) if chunk else [audio]
    return [resampler.push(piece) for piece in pieces]


@pytest.mark.parametrize("rates", PAIRS)
def test_the_cuts_change_no_bit_and_the_seams_are_not_heard(rates):
    audio = noise(rates[0])
    whole = []
    for chunk in (0, 160, 12_345):
        resampler = StreamResampler(*rates)
        whole.append(np.concatenate([*run(resampler, audio, chunk), resampler.flush()]))
    assert np.array_equal(whole[0], whole[1])
    assert np.array_equal(whole[0], whole[2])
    once = soxr.resample(audio, *rates)[: len(whole[0])]
    assert np.abs(whole[0][: len(once)] - once).max() < 5e-7


@pytest.mark.parametrize("rates", [*PAIRS, (24_000, 24_000)])
def test_a_stream_resumes_anywhere_with_the_same_bits(rates):
    audio, resampler = noise(rates[0]), StreamResampler(*rates)
    whole = np.concatenate([*run(resampler, audio, 999), resampler.flush()])
    for at in (0, 1, rates[0] // 2, rates[0] // 2 + 300, int(1.3 * rates[0])):
        first = StreamResampler(*rates, resumable=True)
        found = run(first, audio[:at], 777)
        for _ in range(2):  # also from a stream that was itself resumed
            history = first.history()
            assert len(history[2]) <= rates[0]
            first = StreamResampler(*rates, resumable=True)
            first.resume(*history)
        found += [*run(first, audio[at:], 555), first.flush()]
        assert np.array_equal(np.concatenate(found), whole)


@pytest.mark.parametrize("rates", [*PAIRS, (44_101, 24_000), (384_000, 4_000)])
def test_segments_begin_at_whole_output_samples(rates):
    plan = Plan.between(*rates)
    for index in range(5):
        assert plan.start(index) * rates[1] % rates[0] == 0
        assert plan.step_in * index * rates[1] == plan.step_out * index * rates[0]
        assert plan.end(index) - plan.start(index) >= plan.step_in + plan.margin
