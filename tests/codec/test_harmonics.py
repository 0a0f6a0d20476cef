"""Rectified harmonics: of the pitch below, at the level that is asked for, and silent in silence."""

from dataclasses import replace

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.harmonics import RectifiedHarmonics
from sotto.codec.model import CodecModel
from sotto.codec.spectral import CausalSTFT, energy

RATE, FRAME, BANDS, CORNER = 24_000, 480, 24, 1_000.0
BIN_HZ = RATE / (2 * FRAME)


@pytest.fixture
def harmonics():
    module = RectifiedHarmonics(BANDS, BANDS, FRAME, RATE / 2, CORNER).requires_grad_(False)
    module.level.weight.copy_(torch.eye(BANDS))  # features are the levels
    module.level.bias.zero_()
    return module


def spectra(audio):
    stft = CausalSTFT(FRAME, FRAME + 1)
    found, _ = stft(audio, stft.init_state(audio.shape[0]))
    return found


def tone(*hertz, seconds=0.4):
    t = torch.arange(round(seconds * RATE)) / RATE
    return 0.1 * sum(torch.sin(2 * torch.pi * f * t) for f in hertz)[None]


def levels(spectrum, value):
    return torch.full((*spectrum.shape[:2], BANDS), value)


@pytest.mark.parametrize("pitch", [200.0, 275.0])
def test_all_harmonics_of_the_pitch_and_nothing_between(harmonics, pitch):
    spectrum = spectra(tone(pitch, 2 * pitch, 3 * pitch))
    found = energy(harmonics(levels(spectrum, -3.0), spectrum))[:, 2:].mean((0, 1, 2))
    at = [round(k * pitch / BIN_HZ) for k in range(5, 30)]
    between = [round((k + 0.5) * pitch / BIN_HZ) for k in range(5, 30)]
    assert found[at].mean() > 10 * found[between].mean()


def test_a_rectified_frame_is_a_frame_of_the_rectified_signal(harmonics):
    audio = tone(150.0, 300.0, 450.0)
    low = spectra(audio)
    source = harmonics.analysis(harmonics.synthesis(low[..., : harmonics.low_bins]).abs())
    torch.testing.assert_close(source[:, 2:], spectra(audio.abs())[:, 2:], atol=2e-3, rtol=0)


def test_only_what_is_below_the_corner_is_heard(harmonics):
    low, both = spectra(tone(200.0, 400.0)), spectra(tone(200.0, 400.0, 3_000.0))
    both[..., harmonics.low_bins :] += 0.3
    low[..., : harmonics.low_bins] = both[..., : harmonics.low_bins]
    asked = levels(low, -3.0)
    assert torch.equal(harmonics(asked, low), harmonics(asked, both))


def test_the_level_is_the_level_whatever_the_source(harmonics):
    found = []
    for gain in (1.0, 0.3):
        spectrum = spectra(gain * tone(120.0, 240.0, 360.0))
        found.append(energy(harmonics(levels(spectrum, -3.0), spectrum))[:, 2:].mean())
    assert found[0] == pytest.approx(float(found[1]), rel=0.2)
    assert found[0] == pytest.approx(float(torch.tensor(-6.0).exp()), rel=0.6)


def test_silence_stays_silent(harmonics):
    spectrum = torch.zeros(1, 5, 2, FRAME + 1)
    assert not harmonics(levels(spectrum, 3.0), spectrum).any()


def test_no_level_is_too_high_to_be_finite(harmonics):
    spectrum = spectra(tone(200.0))
    assert harmonics(levels(spectrum, 1e6), spectrum).isfinite().all()


def test_levels_learn_and_phases_are_left_alone(harmonics):
    spectrum = spectra(tone(200.0)).requires_grad_()
    asked = levels(spectrum, -3.0).requires_grad_()
    harmonics(asked, spectrum).square().sum().backward()
    assert asked.grad.abs().sum() > 0
    assert spectrum.grad is None


def test_a_decoder_needs_bands_for_them(make_config):
    config = make_config()
    options = {"dim": 16, "num_blocks": 1, "harmonics_hz": 1_000}
    with pytest.raises(ConfigError, match="set noise_bands too"):
        CodecModel(replace(config, decoder=replace(config.decoder, options=options)))
