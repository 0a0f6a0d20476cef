"""Augmentation: each effect does what it says, and the seed decides all of it."""

import numpy as np
import pytest
import soundfile
import torch

from sotto.codec.config import build
from sotto.codec.errors import AudioError, ConfigError
from sotto.train.augment import Augmenter
from sotto.train.config_data import AugmentConfig
from sotto.train.loop import Trainer
from sotto.train.packets import arrivals

RATE = 24_000


def noise(samples=24_000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def apply(audio, seed=0, recordings=(), bandwidth=12_000.0, **options):
    augmenter = Augmenter(build(AugmentConfig, options), RATE, recordings)
    return augmenter(audio, bandwidth, np.random.default_rng(seed))


def power(audio):
    return np.square(audio, dtype=np.float64).mean()


def test_nothing_happens_unless_asked():
    audio = noise()
    found, bandwidth = apply(audio)
    assert found is audio
    assert bandwidth == 12_000
    assert not AugmentConfig().active


def test_noise_comes_at_the_ratio_that_was_drawn():
    audio = noise()
    for seed in range(3):
        found, _ = apply(audio, seed, noise_share=1.0, min_snr_db=10, max_snr_db=10)
        ratio = 10 * np.log10(power(audio) / power(found - audio))
        assert ratio == pytest.approx(10, abs=0.1)


def test_recorded_noise_is_used_and_a_short_one_repeated():
    recording = (32768 * 0.5 * np.sin(2 * np.pi * np.arange(240) / 24)).astype(np.int16)
    audio = noise()
    found, _ = apply(audio, recordings=[recording], noise_share=1.0, min_snr_db=0, max_snr_db=0)
    spectrum = np.abs(np.fft.rfft(found - audio))
    assert spectrum.argmax() == 1_000
    assert power(found - audio) == pytest.approx(power(audio), rel=0.01)


def test_noise_on_silence_and_silence_as_noise_stay_finite():
    silent = np.zeros(4_800, np.float32)
    for audio in (silent, noise(4_800)):
        found, _ = apply(
            audio, recordings=[np.zeros(10, np.int16)], noise_share=1.0, room_share=1.0
        )
        assert np.isfinite(found).all()


def test_a_room_rings_after_the_sound_and_keeps_the_level():
    click = np.zeros(24_000, np.float32)
    click[1_000] = 0.5
    found, _ = apply(click, room_share=1.0, min_room_seconds=0.3, max_room_seconds=0.3)
    assert np.abs(found[:1_000]).max() < 1e-6
    assert np.abs(found[1_100:5_000]).max() > 1e-3
    assert np.abs(found[1_000 + 8_000 :]).max() < 1e-3
    assert power(found) == pytest.approx(power(click), rel=0.01)


def test_a_narrow_line_cuts_and_says_where():
    found, bandwidth = apply(noise(), narrow_share=1.0, min_narrow_hz=4_000, max_narrow_hz=4_000)
    assert bandwidth == 4_000
    spectrum = np.square(np.abs(np.fft.rfft(found)))
    assert spectrum[4_500:].sum() < 1e-4 * spectrum[:3_500].sum()
    kept, bandwidth = apply(
        noise(), bandwidth=3_000.0, narrow_share=1.0, min_narrow_hz=4_000, max_narrow_hz=4_000
    )
    assert bandwidth == 3_000
    assert np.array_equal(kept, noise())


def test_the_generator_decides_everything():
    options = {"noise_share": 0.5, "room_share": 0.5, "narrow_share": 0.5}
    for seed in range(8):
        one, two = apply(noise(), seed, **options), apply(noise(), seed, **options)
        assert np.array_equal(one[0], two[0])
        assert one[1] == two[1]
    one, two = (apply(noise(), seed, noise_share=1.0)[0] for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_ranges_must_be_in_order():
    with pytest.raises(ConfigError, match="min_snr_db=9 is above max_snr_db=3"):
        build(AugmentConfig, {"min_snr_db": 9, "max_snr_db": 3})


def test_an_augmented_run_draws_the_same_crops_again(make_run, tmp_path):
    soundfile.write(tmp_path / "noise.wav", noise(9_000, 1), RATE)
    augment = {"noise_share": 1.0, "noise": str(tmp_path), "room_share": 0.5}
    base = make_run()
    dataset = {"cache": str(base.dataset.cache), "crop_seconds": 0.1, "batch_size": 2}
    config = make_run(dataset=dataset | {"workers": 0, "augment": augment})
    one, two, plain = Trainer(config).dataset, Trainer(config).dataset, Trainer(base).dataset
    assert all(torch.equal(one[i][0], two[i][0]) for i in range(4))
    assert not torch.equal(one[0][0], plain[0][0])


def test_noise_that_cannot_be_read_is_an_error(make_run, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"")
    dataset = {"cache": str(tmp_path / "c"), "workers": 0}
    augment = {"noise_share": 1.0, "noise": str(tmp_path)}
    with pytest.raises(AudioError, match="none of the noise"):
        Trainer(make_run(dataset=dataset | {"augment": augment}))


@pytest.mark.parametrize(("lost", "burst"), [(0.1, 1.0), (0.2, 4.0)])
def test_packets_are_lost_as_often_and_as_long_as_asked(lost, burst):
    arrived = arrivals((200, 500), lost, burst, torch.Generator().manual_seed(0))
    assert float((~arrived).float().mean()) == pytest.approx(lost, rel=0.1)
    starts = (~arrived[:, 1:]) & arrived[:, :-1]
    mean = float((~arrived[:, 1:]).sum() / starts.sum())
    assert mean == pytest.approx(burst, rel=0.15)


def test_the_decoder_hears_nothing_of_frames_that_are_lost(tiny_model):
    audio = noise(4_800)
    depth = torch.full((1,), 4)
    arrived = torch.ones(1, 10, dtype=torch.bool)
    arrived[0, 3:5] = False
    batch = torch.from_numpy(audio)[None, None]
    found = tiny_model(batch, depth, arrived=arrived)
    codes = found.codes.clone()
    codes[:, :, 3:5] = -1
    expected, _ = tiny_model.decode(codes, tiny_model.decoder.init_state(1))
    torch.testing.assert_close(found.audio, expected, atol=1e-5, rtol=1e-4)


def test_a_run_with_lost_frames_trains(make_run):
    stages = {"one": {"steps": 2, "lost_frames": 0.2}}
    trainer = Trainer(make_run(stages=stages))
    trainer.run()
    assert trainer.step == 2
