"""Finite scalar quantization: the grid is what rounding finds, and nothing has to be learned."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.fsq import default_levels


def build(num_codebooks=1, size=240, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return QUANTIZERS.create(
            "fsq", options, latent_dim=6, num_codebooks=num_codebooks, codebook_size=size
        )


def latents(batch=4, seed=0):
    return torch.randn(batch, 30, 6, generator=torch.Generator().manual_seed(seed))


def test_rounding_finds_the_nearest_grid_point_of_any_levels():
    quantizer, x = build(levels=(8, 6, 5)), latents()
    bounded = quantizer.projection.down(x).tanh()
    nearest = torch.cdist(bounded.flatten(0, 1), quantizer.grid).argmin(1)
    assert torch.equal(quantizer.encode(x).flatten(), nearest)
    assert len(quantizer.grid.unique(dim=0)) == 240


def test_each_book_divides_the_cells_of_the_one_before():
    quantizer, x = build(3, 16), latents()
    bounded = quantizer.projection.down(x).tanh()
    for books in (1, 2, 3):
        left = bounded - quantizer._sum(quantizer.encode(x)[:, :books])
        assert left.abs().max() <= 4.0**-books + 1e-6


def test_the_scales_learn():
    quantizer = build(3, 16)
    out = quantizer(latents(), torch.full((4,), 3))
    (out.latents - latents()).square().mean().backward()
    assert (quantizer.scales.grad != 0).all()


def test_a_beam_lowers_the_error_of_overlapping_grids():
    quantizer, x = build(3, 16), latents(20)
    with torch.no_grad():
        quantizer.scales.mul_(torch.tensor([[1.0], [2.8], [4.8]]))
    bounded = quantizer.projection.down(x).tanh()

    def error(codes):
        return (quantizer._sum(codes) - bounded).square().sum(-1)

    greedy = error(quantizer.encode(x))
    found = error(quantizer.search(x, torch.full((20,), 3), 8))
    assert (found <= greedy + 1e-6).all()
    assert found.mean() < greedy.mean()


@pytest.mark.parametrize(
    ("size", "levels"), [(2, (2,)), (4, (4,)), (8, (8,)), (32, (8, 4)), (1024, (4,) * 5)]
)
def test_default_levels_make_the_size(size, levels):
    assert default_levels(size) == levels


def test_levels_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="make 15 codes, not codebook_size=240"):
        build(levels=(5, 3))
    with pytest.raises(ConfigError, match="more than latent_dim=6"):
        build(size=2**7, levels=(2,) * 7)
    with pytest.raises(ConfigError, match="levels"):
        build(levels=(1, 240))
