"""The pyramid of spectra: what its latents hold, where it ends, what it refuses."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.parts import DECODERS, ENCODERS
from sotto.codec.pyramid import PyramidOptions

OPTIONS = {"dims": [4, 6, 8], "num_heads": [2, 3], "depth": 1, "expansion": 1, "window": 2}
SIZES = {"sample_rate": 2_400, "frame_size": 48, "latent_dim": 12}


def part(registry, **options):
    more = {"num_codebooks": 3} if registry is DECODERS else {}
    name = "stft-pyramid" if registry is ENCODERS else "pyramid-istft"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return registry.create(name, OPTIONS | options, **SIZES, **more).requires_grad_(False)


def decode(decoder, latents):
    depth = torch.full(latents.shape[:2], 3)
    return decoder(latents, depth, decoder.init_state(latents.shape[0]))[0]


def test_every_scale_has_half_the_patches_and_the_finest_reaches_the_top():
    options = PyramidOptions()
    patches = options.patches(160)
    assert patches == [64, 32, 16, 8, 4, 2]
    assert patches[0] * options.patch_bins >= 161


def test_audio_becomes_frames_and_frames_become_audio():
    encoder, decoder = part(ENCODERS), part(DECODERS)
    audio = torch.randn(2, 48 * 5, generator=torch.Generator().manual_seed(0))
    latents, _ = encoder(audio, encoder.init_state(2))
    assert latents.shape == (2, 5, 12)
    assert decode(decoder, latents).shape == audio.shape
    assert decoder.delay_samples == 24


def test_the_latents_are_those_of_the_scales_coarse_to_fine():
    encoder = part(ENCODERS)
    audio = torch.randn(1, 48 * 3, generator=torch.Generator().manual_seed(0))
    before, _ = encoder(audio, encoder.init_state(1))
    encoder.to_latents[0].weight.mul_(2)  # of the finest
    after, _ = encoder(audio, encoder.init_state(1))
    changed = (after != before).flatten(0, 1).any(0)
    assert changed.tolist() == [False] * 8 + [True] * 4


@pytest.mark.parametrize("scale", range(3))
def test_the_decoder_listens_to_every_scale(scale):
    decoder = part(DECODERS)
    latents = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(0))
    other = latents.clone()
    other[..., 4 * scale : 4 * scale + 4] += 1
    assert not torch.equal(decode(decoder, latents), decode(decoder, other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": [2]}, "num_heads has 1 entries; expected 2"),
        ({"columns": 5}, "columns=5 must divide frame_size=48"),
        ({"dims": [4, 6, 8, 8, 8], "num_heads": [2] * 4}, "5 scales latent_dim=12"),
    ],
)
def test_sizes_that_do_not_come_out_even_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        part(ENCODERS, **options)
