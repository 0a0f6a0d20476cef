"""Losses after models of hearing: what they hear, what they do not, and how they rank codecs."""

import math

import pytest
import torch

from sotto.train.config_losses import LossConfig
from sotto.train.hearing import HearingLoss
from sotto.train.losses import ReconstructionLoss

RATE = 24_000


@pytest.fixture(scope="module")
def hearing():
    return HearingLoss(RATE)


def speechlike(seconds=1.0, level=0.05):
    """Harmonics of a gliding pitch with syllables four times a second."""
    t = torch.arange(round(seconds * RATE)) / RATE
    phase = 2 * math.pi * (120 * t + 10 * t**2)
    tones = sum(torch.sin(k * phase) / k for k in range(1, 30))
    syllables = (0.02 + torch.sin(math.pi * 4 * t).clamp_min(0)) * tones
    return (level * syllables / syllables.square().mean().sqrt())[None]


def noise(like, level, seed=0):
    random = torch.Generator().manual_seed(seed)
    return level * torch.randn(like.shape, generator=random)


def test_equal_audio_loses_nothing(hearing):
    pmsqe, stoi = hearing(speechlike(), speechlike())
    assert pmsqe < 1e-3
    assert stoi < 1e-3


@pytest.mark.parametrize("index", [0, 1], ids=["pmsqe", "stoi"])
def test_more_noise_loses_more(hearing, index):
    clean = speechlike()
    losses = [hearing(clean + noise(clean, level), clean)[index] for level in (0.002, 0.01, 0.05)]
    assert losses == sorted(losses)
    assert losses[0] < 0.7 * losses[-1]


def test_phases_are_not_heard(hearing):
    pmsqe, stoi = hearing(-speechlike(), speechlike())
    assert pmsqe < 1e-3
    assert stoi < 1e-3


def test_noise_in_pauses_costs_more_than_the_same_noise_left_out(hearing):
    """What is added is worse than what is missing."""
    clean = speechlike()
    hiss = clean + noise(clean, 0.01)
    assert hearing(hiss, clean)[0] > 1.2 * hearing(clean, hiss)[0]


def test_a_difference_below_the_threshold_of_hearing_is_free(hearing):
    clean = speechlike()
    assert hearing(clean + noise(clean, 1e-6), clean)[0] < 0.02


def test_the_level_of_a_recording_hardly_matters(hearing):
    clean = speechlike(level=0.1)
    coded = clean + noise(clean, 0.01)
    loud, quiet = (hearing(gain * coded, gain * clean)[0] for gain in (1.0, 0.3))
    assert loud == pytest.approx(float(quiet), rel=0.05)


def test_a_change_of_level_throughout_is_forgiven_and_one_in_a_part_is_not(hearing):
    clean = speechlike()
    half = clean.clone()
    half[:, : clean.shape[1] // 2] *= 0.4
    for index in range(2):
        assert hearing(half, clean)[index] > 5 * hearing(0.4 * clean, clean)[index]


@pytest.mark.parametrize(
    ("decoded", "target"),
    [
        (torch.zeros(1, 6_000), torch.zeros(1, 6_000)),
        (torch.zeros(1, 6_000), speechlike(0.25)),
        (speechlike(0.25), torch.zeros(1, 6_000)),
        (speechlike(0.01), speechlike(0.01)),
    ],
    ids=["silence", "all lost", "all invented", "a hundredth of a second"],
)
def test_gradients_are_finite(hearing, decoded, target):
    decoded = decoded.clone().requires_grad_()
    sum(hearing(decoded, target)).backward()
    assert decoded.grad.isfinite().all()


def test_a_step_against_the_gradient_sounds_better(hearing):
    clean = speechlike()
    decoded = (clean + noise(clean, 0.02)).requires_grad_()
    before = sum(hearing(decoded, clean))
    before.backward()
    with torch.no_grad():
        moved = decoded - 1e-3 * decoded.grad / decoded.grad.abs().mean()
    assert sum(hearing(moved, clean)) < before


def test_what_lies_above_the_band_of_a_recording_is_not_heard(hearing):
    clean, band = speechlike(), torch.tensor([4_000.0])
    t = torch.arange(clean.shape[1]) / RATE
    added = clean + 0.05 * torch.sin(2 * math.pi * 6_000 * t)
    # Little is left: folding at the ends of a crop spreads the tone.
    assert hearing(added, clean, band)[0] < 0.1 * hearing(added, clean)[0]
    decoded = added.requires_grad_()
    sum(hearing(decoded, clean, band)).backward()
    assert decoded.grad.isfinite().all()


def test_the_reconstruction_loss_has_them_when_asked():
    config = LossConfig(mel_windows=(1024,), mel_bands=(40,), stft_windows=(512,))
    clean = speechlike()
    coded, band = clean + noise(clean, 0.01), torch.tensor([12_000.0])
    without = ReconstructionLoss(config, RATE)(coded, clean, band)
    asked = ReconstructionLoss(config, RATE, hearing=True)(coded, clean, band)
    assert without.pmsqe == without.stoi == 0
    assert asked.pmsqe > 0 < asked.stoi
