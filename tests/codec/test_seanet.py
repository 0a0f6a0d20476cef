"""Strided waveform networks: sizes, mirror image, causality, gradients, clear errors."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.networks.residual import ResidualStage, UnitOptions
from sotto.codec.parts import DECODERS, ENCODERS
from sotto.codec.streaming import flatten

SIZES = {"sample_rate": 8_000, "frame_size": 24, "latent_dim": 8}
TRANSFORMER = {"name": "transformer", "options": {"num_layers": 1, "num_heads": 2, "context": 5}}
VARIANTS = {
    "plain": {},
    "snake": {"activation": "snake", "residual_kernel_sizes": [7], "dilations": [1, 3]},
    "rows": {"residual_kernel_sizes": [3, 5], "pointwise": False, "compress": 1},
    "depthwise": {"depthwise": True, "compress": 1, "normalise": False, "conv_skip": True},
    "recurrent": {"bottleneck": {"name": "lstm"}},
    "strided latents": {"strides": [2, 4], "frame_stride": 3, "context": TRANSFORMER},
    "steps in a frame": {"strides": [3, 4], "frame_steps": 2, "context": TRANSFORMER},
}


def options(**changes):
    return {"channels": 2, "strides": [2, 3, 4], "latent_kernel_size": 3} | changes


def build(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ENCODERS.create("seanet", options(**changes), **SIZES)
        decoder = DECODERS.create("seanet", options(**changes), **SIZES, num_codebooks=4)
    return encoder.double(), decoder.double()


def audio(frames):
    return torch.randn(2, 24 * frames, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("plan", [[1] * 6, [1, 4, 1]], ids=str)
def test_chunks_equal_the_whole(variant, plan):
    encoder, decoder = build(**variant)
    x = audio(6)
    latents, end = encoder(x, encoder.init_state(2))
    assert latents.shape == (2, 6, 8)
    depth = torch.full((2, 6), 4)
    heard, _ = decoder(latents, depth, decoder.init_state(2))
    assert heard.shape == x.shape
    state, other, found = encoder.init_state(2), decoder.init_state(2), []
    for piece, d in zip(x.split([24 * n for n in plan], 1), depth.split(plan, 1), strict=True):
        part, state = encoder(piece, state)
        y, other = decoder(part, d, other)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, dim=1), heard)
    for name, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(state)[name], tensor)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_a_sample_shapes_no_earlier_frame_and_a_frame_no_earlier_sample(variant):
    encoder, decoder = build(**variant)
    x = audio(5).requires_grad_()
    latents, _ = encoder(x, encoder.init_state(2))
    gradient = torch.autograd.grad(latents[:, 2].square().sum(), x)[0]
    assert gradient[:, : 3 * 24].any()
    assert not gradient[:, 3 * 24 :].any()
    z = latents.detach().requires_grad_()
    heard, _ = decoder(z, torch.full((2, 5), 4), decoder.init_state(2))
    gradient = torch.autograd.grad(heard[:, 2 * 24 : 3 * 24].square().sum(), z)[0]
    assert gradient[:, 2].any()
    assert not gradient[:, 3:].any()
    assert decoder.delay_samples == 0


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_weight_gets_a_gradient(variant):
    encoder, decoder = build(**variant)
    latents, _ = encoder(audio(5), encoder.init_state(2))
    heard, _ = decoder(latents, torch.full((2, 5), 4), decoder.init_state(2))
    heard.square().mean().backward()
    for module in (encoder, decoder):
        missing = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
        assert missing == []


def test_a_bound_keeps_samples_within_full_scale():
    decoder = DECODERS.create("seanet", options(tanh=True), **SIZES, num_codebooks=4)
    x = 1e4 * torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))
    heard, _ = decoder(x, torch.full((1, 4), 4), decoder.init_state(1))
    assert 0.9 < heard.abs().max() <= 1


def test_half_precision_gives_audio_in_float32():
    decoder = DECODERS.create("seanet", options(), **SIZES, num_codebooks=4)
    with torch.autocast("cpu", torch.bfloat16):
        heard, _ = decoder(torch.ones(1, 2, 8), torch.ones(1, 2), decoder.init_state(1))
    assert heard.dtype == torch.float32


def test_rows_are_averaged():
    both = ResidualStage(4, (3, 5), (1,), UnitOptions()).double()
    x = audio(1)[:, None].expand(-1, 4, -1)
    y, _ = both(x, both.init_state(2))
    parts = []
    for r, (unit,) in enumerate(both.rows):
        parts.append(unit(x, both.init_state(2)[str(r)]["0"])[0])
    torch.testing.assert_close(y, (parts[0] + parts[1]) / 2)


def test_strides_that_make_no_frame_are_refused():
    for registry, extra in ((ENCODERS, {}), (DECODERS, {"num_codebooks": 4})):
        with pytest.raises(ConfigError, match=r"frames of 36 samples, not frame_size=24"):
            registry.create("seanet", options(strides=[3, 3, 4]), **SIZES, **extra)
