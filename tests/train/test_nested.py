"""Nested dropout: depths that are drawn, and prefixes that decode better for it."""

import pytest
import torch

from sotto.codec.quantizers import QUANTIZERS
from sotto.train.nested import nested_dropout

D, K = 8, 4


def draw(full_share=0.0, lengths="uniform", batch=4000, books=12):
    random = torch.Generator().manual_seed(0)
    return nested_dropout(batch, books, full_share=full_share, lengths=lengths, random=random)


def test_every_length_is_drawn_as_often():
    counts = torch.bincount(draw(), minlength=13)
    assert counts[0] == 0
    assert (counts[1:] - 4000 / 12).abs().max() < 100


def test_powers_of_two_are_drawn_as_often():
    counts = torch.bincount(draw(lengths="powers"), minlength=13)
    assert set(counts.nonzero().flatten().tolist()) == {1, 2, 4, 8}
    assert (counts[[1, 2, 4, 8]] - 1000).abs().max() < 150


@pytest.mark.parametrize("lengths", ["uniform", "powers"])
def test_a_share_of_the_items_keeps_all_books(lengths):
    assert (draw(1.0, lengths) == 12).all()
    share = (draw(0.5, lengths) == 12).float().mean()
    assert 0.45 < share < 0.6


def latents(seed=0):
    """Channels of falling energy in directions of no axis [10, 30, D]."""
    random = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(9)))
    return (torch.randn(10, 30, D, generator=random) * 0.6 ** torch.arange(D)) @ turn


def errors(full_share):
    """Of every prefix of books side by side, after training from projections at random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            "fqgan", {}, latent_dim=D, num_codebooks=K, codebook_size=16
        ).train()
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    random = torch.Generator().manual_seed(0)
    for step in range(150):
        x = latents(step)
        out = quantizer(x, nested_dropout(len(x), K, full_share=full_share, random=random))
        optimizer.zero_grad()
        ((out.latents - x).square().mean() + out.codebook).backward()
        optimizer.step()
    quantizer.eval()
    x = latents(999)
    codes = quantizer.encode(x)
    return [(quantizer.decode(codes[:, :k]) - x).square().mean().item() for k in range(1, K + 1)]


def test_the_first_of_parallel_books_learns_what_matters_most():
    plain, nested = errors(1.0), errors(0.0)
    assert nested[0] < 0.8 * plain[0]
    assert nested == sorted(nested, reverse=True)
