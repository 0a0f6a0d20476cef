"""Shaped noise: level by band, one loop for all, exact in a stream."""

from dataclasses import replace

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel
from sotto.codec.noise import ShapedNoise, even_noise
from sotto.codec.spectral import OverlapAddISTFT, energy, mel_interpolation

FRAME, BANDS = 480, 12


@pytest.fixture
def noise():
    module = ShapedNoise(BANDS, BANDS, FRAME, 12_000.0).eval().requires_grad_(False)
    module.level.weight.copy_(torch.eye(BANDS))  # features are the levels
    module.level.bias.zero_()
    return module


def test_bands_share_every_bin_and_turn_back():
    rows = mel_interpolation(BANDS, FRAME + 1, 12_000.0)
    assert torch.allclose(rows.sum(0), torch.ones(FRAME + 1), atol=1e-3)
    assert (rows >= 0).all()
    assert rows[0, 0] == rows[-1, -1] == 1
    assert (rows.argmax(0).diff() >= 0).all()


@pytest.mark.parametrize("bands", [0, 1, 482])
def test_impossible_numbers_of_bands_are_refused(bands):
    with pytest.raises(ConfigError, match="expected 2 to 481"):
        mel_interpolation(bands, 481, 12_000.0)


def test_the_level_is_the_level(noise):
    levels = torch.full((1, 640, BANDS), -3.0)
    spectrum, _ = noise(levels, noise.init_state(1))
    assert energy(spectrum)[..., 1:-1].mean() == pytest.approx(
        float(torch.tensor(-6.0).exp()), rel=0.05
    )
    istft = OverlapAddISTFT(FRAME)
    audio, _ = istft(spectrum, istft.init_state(1))
    middle = audio[:, FRAME:].std()
    assert middle == pytest.approx(2**0.5 * float(torch.tensor(-3.0).exp()), rel=0.05)


def test_a_loud_band_is_loud_where_it_stands(noise):
    levels = torch.full((1, 64, BANDS), -9.0)
    levels[..., 5] = 0.0
    spectrum, _ = noise(levels, noise.init_state(1))
    per_bin = energy(spectrum).mean((0, 1, 2))
    centre = int(noise.interpolation[5].argmax())
    assert abs(int(per_bin.argmax()) - centre) < 12
    assert per_bin[centre] > 1e4 * per_bin[centre * 3]


def test_chunks_equal_the_whole_past_the_end_of_the_loop(noise):
    levels = torch.randn(2, 150, BANDS, generator=torch.Generator().manual_seed(0))
    whole, _ = noise(levels, noise.init_state(2))
    state, parts = noise.init_state(2), []
    for piece in levels.split([1, 70, 3, 64, 12], dim=1):
        part, state = noise(piece, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole)


def test_items_of_a_training_batch_hear_different_noise(noise):
    levels = torch.zeros(2, 8, BANDS)
    same, _ = noise(levels, noise.init_state(2))
    assert torch.equal(same[0], same[1])
    noise.train()
    different, _ = noise(levels, noise.init_state(2))
    assert not torch.equal(different[0], different[1])


def test_even_noise_has_hardly_any_level_of_its_own():
    """Third octaves over 32 ms, at times and in windows that it was not made with."""

    def spread(audio):
        spectrum = torch.fft.rfft(audio.unfold(0, 768, 311) * torch.hann_window(768))
        hertz = torch.fft.rfftfreq(768, 1 / 24_000)
        power = spectrum.abs().square()
        edges = [(400 * 2 ** (k / 3), 400 * 2 ** ((k + 1) / 3)) for k in range(14)]
        bands = [power[:, (low <= hertz) & (hertz < high)].mean(1) for low, high in edges]
        return (10 * torch.stack(bands).log10()).std(1).mean()

    loop = even_noise(64 * FRAME, FRAME)
    gaussian = torch.randn(64 * FRAME, generator=torch.Generator().manual_seed(1))
    assert loop.square().mean() == pytest.approx(1.0, rel=1e-3)
    assert spread(loop) < 0.6 * spread(gaussian)


@pytest.mark.parametrize("frame_size", [16, 100, 320])
def test_even_noise_fits_any_frame(frame_size):
    loop = even_noise(64 * frame_size, frame_size)
    assert loop.shape == (64 * frame_size,)
    assert loop.isfinite().all()
    assert loop.abs().max() < 10


def test_no_level_is_too_high_to_be_finite(noise):
    spectrum, _ = noise(torch.full((1, 2, BANDS), 1e6), noise.init_state(1))
    assert spectrum.isfinite().all()


def test_above_the_band_of_the_decoder_is_noise_alone(make_config, make_model):
    model = make_model(make_config())
    frames = model.config.frame_size
    with torch.no_grad():
        model.decoder.noise.level.bias.fill_(-30)  # no noise, then nothing is left above
        latents = torch.randn(1, 50, model.config.latent_dim)
        depth = torch.full((1, 50), 4)
        audio, _ = model.decoder(latents, depth, model.decoder.init_state(1))
    power = torch.fft.rfft(audio[0] * torch.hann_window(audio.shape[1])).abs().square()
    middle = len(power) // 2  # band is a half
    assert frames * power[int(1.05 * middle) :].sum() < 1e-3 * power[:middle].sum()


def test_a_band_needs_noise_above_it(make_config):
    config = make_config()
    decoder = replace(config.decoder, options={"dim": 16, "num_blocks": 1, "band": 0.5})
    with pytest.raises(ConfigError, match="set noise_bands too"):
        CodecModel(replace(config, decoder=decoder))
