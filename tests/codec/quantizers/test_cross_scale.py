"""Cross-scale residual: wide scales quantize what the narrow ones do not foresee."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS

D, K = 8, 3


def build(books=K, dim=D, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return QUANTIZERS.create(
            "cross-scale", options, latent_dim=dim, num_codebooks=books, codebook_size=16
        )


def start(quantizer, x):
    quantizer.start(x.flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer


def latents(batch=20, seed=0):
    """Four channels of noise, and four that are a curved function of the first two."""
    random = torch.Generator().manual_seed(seed)
    free = torch.randn(batch, 30, D // 2, generator=random)
    return torch.cat([3 * free, free.square() - 1], -1)


def full(batch=20):
    return torch.full((batch,), K)


def error(quantizer, x, books=K):
    return (quantizer.decode(quantizer.encode(x)[:, :books]) - x).square().mean().item()


def test_scales_halve_and_share_the_books():
    quantizer = build(books=8, dim=16)
    widths = [stage.books[0].dim for stage in quantizer.stages]
    assert widths == [4, 8, 16]
    assert [stage.num_codebooks for stage in quantizer.stages] == [2, 3, 3]


def test_what_the_narrow_scale_holds_is_guessed_and_costs_the_wide_one_nothing():
    quantizer, x = build(books=2, scales=2), latents()
    start(quantizer, x)
    seen = []
    stage = quantizer.stages[1]
    encode = stage.encode
    stage.encode = lambda residual: seen.append(residual) or encode(residual)
    codes = quantizer.encode(x)
    guess = quantizer.decode(codes[:, :1])
    torch.testing.assert_close(seen[0], x - guess)
    assert seen[0].square().mean() < 0.6 * x.square().mean()


def test_guesses_learn_what_no_linear_map_could_say():
    quantizer, x = start(build(), latents()), latents(seed=1)
    before = error(quantizer, x, 1), error(quantizer, x)
    optimizer = torch.optim.Adam(quantizer.train().parameters(), lr=0.01)
    for _ in range(150):
        out = quantizer(latents(), full())
        optimizer.zero_grad()
        out.codebook.backward()
        optimizer.step()
    quantizer.eval()
    assert error(quantizer, x, 1) < before[0]
    assert error(quantizer, x) < before[1]


def test_the_gradient_reaches_the_latents_once():
    quantizer, x = start(build(), latents()).train(), latents().requires_grad_()
    weight = torch.randn(20, 30, D, generator=torch.Generator().manual_seed(2))
    (quantizer(x, full()).latents * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)


def test_one_scale_is_residual_quantization():
    quantizer, x = start(build(scales=1), latents()), latents(seed=1)
    plain = QUANTIZERS.create("rvq", {}, latent_dim=D, num_codebooks=K, codebook_size=16)
    start(plain, latents())
    assert torch.equal(quantizer.encode(x), plain.encode(x))


@pytest.mark.parametrize(("books", "dim"), [(2, 8), (3, 6)])
def test_scales_that_do_not_fit_are_refused(books, dim):
    with pytest.raises(ConfigError, match=f"scales=3 need latent_dim={dim} to be halved 2 times"):
        build(books, dim)
