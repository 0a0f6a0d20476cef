"""Losses: zero for equal audio, blind above the bandwidth, finite everywhere."""

import math

import pytest
import torch

from sotto.train.config_losses import LossConfig
from sotto.train.losses import ReconstructionLoss
from sotto.train.spectrum import Spectrum

CONFIG = LossConfig(mel_windows=(1024, 256), mel_bands=(40, 20), stft_windows=(512,))


@pytest.fixture(scope="module")
def losses():
    return ReconstructionLoss(CONFIG, 24_000)


def noise(batch=2, samples=6_000, seed=0):
    random = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, samples, generator=random)


def full(batch=2):
    return torch.full((batch,), 12_000.0)


def tone(hertz, samples=6_000):
    return 0.1 * torch.sin(2 * math.pi * hertz * torch.arange(samples) / 24_000)[None]


def test_equal_audio_costs_nothing(losses):
    found = losses(noise(), noise(), full())
    assert found.mel == found.loudness == found.stft == found.waveform == 0


@pytest.mark.parametrize("part", ["mel", "loudness", "stft", "waveform"])
def test_other_audio_costs_more_the_more_it_differs(losses, part):
    near = losses(noise() + 0.01 * noise(seed=1), noise(), full())
    far = losses(noise() + 0.5 * noise(seed=1), noise(), full())
    assert 0 < getattr(near, part) < getattr(far, part)


def test_only_the_complex_distance_and_the_waveform_hear_the_sign(losses):
    found = losses(-noise(), noise(), full())
    assert found.mel < 1e-5
    assert found.loudness < 1e-5
    assert found.stft > 0.1
    assert found.waveform > 0.1


def test_a_corner_leaves_half_of_the_waveform_there_and_little_above():
    config = LossConfig(
        mel_windows=(1024,), mel_bands=(40,), stft_windows=(512,), waveform_corner_hz=1_000.0
    )
    losses = {
        hertz: ReconstructionLoss(config, 24_000)(tone(hertz), 0 * tone(hertz), full(1)).waveform
        / tone(hertz).abs().mean()
        for hertz in (100, 1_000, 3_000)
    }
    assert losses[100] == pytest.approx(1, abs=0.02)
    assert losses[1_000] == pytest.approx(0.5, abs=0.03)
    assert losses[3_000] < 0.03


def test_a_corner_makes_high_phases_cheap_and_low_ones_not():
    cornered = ReconstructionLoss(
        LossConfig(
            mel_windows=(1024,), mel_bands=(40,), stft_windows=(512,), stft_corner_hz=1_000.0
        ),
        24_000,
    )
    even = ReconstructionLoss(
        LossConfig(mel_windows=(1024,), mel_bands=(40,), stft_windows=(512,)), 24_000
    )

    def kept(hertz):
        flipped = [loss(-tone(hertz), tone(hertz), full(1)).stft for loss in (cornered, even)]
        return float(flipped[0] / flipped[1])

    assert kept(200) > 0.8
    assert kept(1_000) == pytest.approx(0.5, abs=0.1)
    assert kept(4_000) < 0.1


def test_quiet_bands_count_less_in_loudness(losses):
    loud, quiet = noise(), 0.01 * noise()
    ratios = []
    for part in ("mel", "loudness"):
        of_loud, of_quiet = (
            getattr(losses(0.5 * audio, audio, full()), part) for audio in (loud, quiet)
        )
        ratios.append(float(of_quiet / of_loud))
    assert ratios[0] == pytest.approx(1, abs=0.05)
    assert ratios[1] < 0.5


def test_what_lies_above_the_bandwidth_is_ignored(losses):
    narrow = torch.tensor([4_000.0])
    target = tone(1_000)
    above = losses(target + tone(9_000), target, narrow)
    below = losses(target + tone(2_000), target, narrow)
    wide = losses(target + tone(9_000), target, full(1))
    assert above.mel < 0.05 * min(below.mel, wide.mel)
    assert above.stft < 0.2 * min(below.stft, wide.stft)


@pytest.mark.parametrize("corner", [0.0, 2_000.0])
def test_the_waveform_loss_hears_nothing_above_the_bandwidth(corner):
    config = LossConfig(
        mel_windows=(1024,), mel_bands=(40,), stft_windows=(512,), waveform_corner_hz=corner
    )
    loss = ReconstructionLoss(config, 24_000)
    target = tone(1_000)
    narrow = torch.tensor([4_000.0])
    above = (target + tone(9_000)).requires_grad_()
    found = loss(above, target, narrow).waveform
    (gradient,) = torch.autograd.grad(found, above)
    assert found < 1e-4
    assert loss(target + tone(2_000), target, narrow).waveform > 0.01
    spectrum = torch.fft.rfft(gradient)[0].abs()
    hertz = torch.fft.rfftfreq(gradient.shape[-1], 1 / 24_000)
    assert spectrum[hertz > 4_000].max() < 1e-3 * spectrum.max()


def test_each_item_has_its_own_bandwidth(losses):
    target, decoded = tone(1_000).repeat(2, 1), (tone(1_000) + tone(9_000)).repeat(2, 1)
    both = losses(decoded, target, torch.tensor([4_000.0, 12_000.0]))
    wide = losses(decoded, target, full())
    assert 0 < both.mel < wide.mel * 1.5
    only = losses(decoded[:1], target[:1], torch.tensor([4_000.0]))
    assert only.mel < 0.2 * both.mel


def test_no_bandwidth_at_all_is_zero_not_nan(losses):
    found = losses(noise(), noise(seed=1), torch.zeros(2))
    assert found.mel == 0
    assert found.stft.isfinite()


@pytest.mark.parametrize("level", [0.0, 1e-20, 1e-6, 1.0, 1e3])
def test_losses_and_gradients_are_finite_at_every_level(losses, level):
    decoded = (level * noise()).requires_grad_()
    for target in (torch.zeros_like(decoded), noise(seed=1)):
        found = losses(decoded, target, full())
        total = found.mel + found.stft + found.waveform
        (gradient,) = torch.autograd.grad(total, decoded)
        assert total.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("samples", [1, 100, 513, 1024])
def test_audio_shorter_than_a_window_is_fine(losses, samples):
    found = losses(noise(samples=samples), noise(samples=samples, seed=1), full())
    assert found.mel.isfinite()
    assert found.stft > 0


def test_the_spectrum_is_level_with_the_audio():
    spectrum = Spectrum(1024)(tone(24_000 * 64 / 1024, 24_000))
    middle = spectrum[0, :, 20:60].abs()
    assert middle.argmax(0).unique().tolist() == [64]
    assert middle.max().item() == pytest.approx(0.05, rel=0.01)  # half of 0.1, by the window


def test_buffers_are_not_saved(losses):
    assert losses.state_dict() == {}


def test_a_step_draws_its_windows_and_on_average_nothing_is_lost():
    config = LossConfig(
        mel_windows=(1024, 256), mel_bands=(40, 20), stft_windows=(512, 256), windows_per_step=1
    )
    drawing = ReconstructionLoss(config, 24_000)
    decoded, target = noise() + 0.1 * noise(seed=1), noise()
    random = torch.Generator().manual_seed(0)
    draws = [drawing(decoded, target, full(), random) for _ in range(200)]
    every = drawing(decoded, target, full())
    for part in ("mel", "stft"):
        values = torch.stack([getattr(draw, part) for draw in draws])
        assert len(values.unique()) == 2
        assert values.mean() == pytest.approx(float(getattr(every, part)), rel=0.05)
    again = drawing(decoded, target, full(), torch.Generator().manual_seed(0))
    assert again == draws[0]
