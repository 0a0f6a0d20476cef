"""VAEVQ: draws in training, means in serving, a commitment that minds what is uncertain."""

import pytest
import torch

from sotto.codec.quantizers import QUANTIZERS

D, K = 8, 2


def build(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            "vaevq", options, latent_dim=D, num_codebooks=K, codebook_size=16
        )
    quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer


def latents(batch=4, seed=0):
    return torch.randn(batch, 30, D, generator=torch.Generator().manual_seed(seed))


def full(batch=4):
    return torch.full((batch,), K)


def test_training_quantizes_draws_and_serving_the_means():
    quantizer, x = build(deviation=1.0).train(), latents()
    first, second = quantizer(x, full()).codes, quantizer(x, full()).codes
    assert not torch.equal(first, second)
    quantizer.eval()
    assert torch.equal(quantizer(x, full()).codes, quantizer.encode(x))
    assert torch.equal(quantizer.encode(x), quantizer.stages[0].encode(x))


def test_without_width_it_is_the_inner_quantizer():
    wide, narrow, x = build(deviation=0.5).train(), build(deviation=1e-3).train(), latents()
    same = [(q(x, full()).codes == q.encode(x)).float().mean() for q in (narrow, wide)]
    assert same[0] > 0.99 > same[1]


def test_the_divergence_is_that_of_gaussians():
    quantizer, x = build(deviation=0.3), latents(200)
    prior = torch.distributions.Normal(torch.zeros(D), quantizer.prior)
    ours = torch.distributions.Normal(x, 0.3 * quantizer.prior)
    expected = torch.distributions.kl_divergence(ours, prior).mean()
    log_variance = quantizer.spread(x / quantizer.prior)
    torch.testing.assert_close(quantizer._divergence(x, log_variance), expected)


def test_the_prior_is_as_wide_as_the_latents():
    quantizer, scale = build(), torch.arange(1.0, D + 1)
    quantizer.start(latents(50).flatten(0, 1) * scale, torch.Generator().manual_seed(0))
    torch.testing.assert_close(quantizer.prior, scale, rtol=0.1, atol=0)


def test_a_dimension_that_is_uncertain_is_pulled_less():
    quantizer, x = build().train(), latents().requires_grad_()
    quantizer.spread.bias.data[: D // 2] += 3  # the first half is wider
    quantizer(x, full()).commitment.backward()
    wide, sure = x.grad[..., : D // 2].abs().mean(), x.grad[..., D // 2 :].abs().mean()
    assert wide < 0.5 * sure


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_distribution_term_is_the_inner_quantizers(weight):
    inner = {"name": "rvq", "options": {"learning": "gradient", "wasserstein": weight}}
    quantizer = build(inner=inner, divergence=0.0).train()
    assert bool(quantizer(latents(seed=3), full()).auxiliary > 0) is bool(weight)
