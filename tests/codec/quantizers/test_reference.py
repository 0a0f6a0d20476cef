"""Equal codes from equal weights where vector-quantize-pytorch has the same method.

Its FSQ places the grid otherwise (cells at the ends are wider), so that has no counterpart here.
"""

import pytest
import torch
from vector_quantize_pytorch import (
    LFQ,
    GroupedResidualVQ,
    LatentQuantize,
    ResidualVQ,
    SimVQ,
    VectorQuantize,
)
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.base import pass_gradient

D, SIZE = 8, 16


def build(name, books=1, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            name, options, latent_dim=D, num_codebooks=books, codebook_size=SIZE
        )
    quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer.eval().requires_grad_(False)


def latents(batch=2, seed=0):
    return torch.randn(batch, 30, D, generator=torch.Generator().manual_seed(seed))


def test_one_book():
    ours = build("rvq")
    theirs = VectorQuantize(dim=D, codebook_size=SIZE).eval()
    theirs.codebook = ours.tables()[0]
    quantized, codes, _ = theirs(latents())
    assert torch.equal(ours.encode(latents())[:, 0], codes)
    torch.testing.assert_close(ours.decode(ours.encode(latents())), quantized)


def test_one_normalized_book():
    ours = build("rvq", normalize=True)
    theirs = VectorQuantize(dim=D, codebook_size=SIZE, use_cosine_sim=True).eval()
    theirs.codebook = ours.tables()[0]
    assert torch.equal(ours.encode(latents())[:, 0], theirs(latents())[1])


@pytest.mark.parametrize("name", ["rvq", "simvq", "fvq", "vqgan-lc"])
def test_residual_books(name):
    ours = build(name, 4)
    theirs = ResidualVQ(dim=D, num_quantizers=4, codebook_size=SIZE).eval()
    for layer, table in zip(theirs.layers, ours.tables(), strict=True):
        layer.codebook = table
    quantized, codes, _ = theirs(latents())
    assert torch.equal(ours.encode(latents()), codes.transpose(1, 2))
    torch.testing.assert_close(ours.decode(ours.encode(latents())), quantized)


def test_groups_of_residual_books():
    ours = build("grvq", 4)
    theirs = GroupedResidualVQ(dim=D, num_quantizers=2, groups=2, codebook_size=SIZE).eval()
    for rvq, group in zip(theirs.rvqs, ours.groups, strict=True):
        for layer, table in zip(rvq.layers, group.tables(), strict=True):
            layer.codebook = table
    codes = theirs(latents())[1]  # [groups, B, T, books]
    assert torch.equal(ours.encode(latents()), codes.permute(1, 3, 0, 2).flatten(1, 2))


def test_simvq_with_its_linear_layer():
    ours = build("simvq")
    book = ours.books[0]
    linear = torch.nn.Linear(D, D)
    linear.weight.data, linear.bias.data = book.map.weight, book.map.bias
    theirs = SimVQ(dim=D, codebook_size=SIZE, codebook_transform=linear)
    theirs.frozen_codebook.copy_(book.entries)
    assert torch.equal(ours.encode(latents())[:, 0], theirs(latents())[1])


@pytest.mark.parametrize(("name", "spherical"), [("lfq", False), ("bsq", True)])
def test_signs(name, spherical):
    ours = build(name)
    theirs = LFQ(dim=D, codebook_size=SIZE, spherical=spherical, projection_has_bias=False).eval()
    theirs.project_in.weight.data = ours.projection.down.weight
    assert torch.equal(ours.encode(latents())[:, 0], theirs(latents())[1])


def test_learned_scalars():
    ours = build("latent")
    theirs = LatentQuantize(levels=[4, 4], dim=2)
    for mine, values in zip(ours.values, theirs.values_per_latent, strict=True):
        values.data.copy_(mine[0])
    x = ours.projection.down(latents())
    points = theirs.quantize(x)
    torch.testing.assert_close(ours.points(ours.nearest(x, 0), 0), points)


def test_the_gradient_of_the_rotation_trick():
    x, target, weight = latents().requires_grad_(), latents(seed=1), latents(seed=2)
    (ours,) = torch.autograd.grad((pass_gradient(x, target, "rotation") * weight).sum(), x)
    (theirs,) = torch.autograd.grad((rotate_to(x, target) * weight).sum(), x)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
