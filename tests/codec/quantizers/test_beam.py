"""Beam search: never worse than greedy, best for the depth that is kept, equal to brute force."""

import itertools

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.beam import beam_search

D, K, SIZE = 8, 6, 16


def build(name="rvq", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            name, options, latent_dim=D, num_codebooks=K, codebook_size=SIZE
        )
    quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer.eval().requires_grad_(False)


def latents(batch=4, seed=0):
    return torch.randn(batch, 30, D, generator=torch.Generator().manual_seed(seed))


def errors(quantizer, x, codes):
    """Squared error of each frame [B, T]."""
    return (quantizer.decode(codes) - x).square().sum(-1)


def full(depth, batch=4):
    return torch.full((batch,), depth)


@pytest.mark.parametrize("name", ["rvq", "grvq"])
@pytest.mark.parametrize("beam_size", [2, 4, 16])
def test_no_frame_is_worse_than_greedy_at_any_depth(name, beam_size):
    quantizer, x = build(name), latents(seed=1)
    for depth in range(1, K + 1):
        greedy = errors(quantizer, x, quantizer.encode(x)[:, :depth])
        found = errors(quantizer, x, quantizer.search(x, full(depth), beam_size))
        assert (found <= greedy * (1 + 1e-5)).all()


def test_a_wider_beam_gains_and_the_best_path_depends_on_the_depth():
    quantizer, x = build(), latents(40, seed=1)
    wide = [
        errors(quantizer, x, quantizer.search(x, full(K, 40), size)).mean() for size in (1, 2, 4, 8)
    ]
    assert wide == sorted(wide, reverse=True)
    assert wide[2] < 0.9 * wide[0]
    deep = quantizer.search(x, full(K, 40), 4)
    for depth in (2, 3):
        own = errors(quantizer, x, quantizer.search(x, full(depth, 40), 4)).mean()
        assert own < errors(quantizer, x, deep[:, :depth]).mean()


def test_a_beam_as_wide_as_all_paths_finds_the_best_of_them():
    random = torch.Generator().manual_seed(0)
    books = [torch.randn(4, 3, generator=random) * 0.6**k for k in range(3)]
    x = torch.randn(50, 3, generator=random)
    paths = torch.tensor(list(itertools.product(range(4), repeat=3)))
    sums = torch.stack([books[k][paths[:, k]] for k in range(3)]).sum(0)
    best = paths[torch.cdist(x, sums).argmin(1)]
    wide = [torch.cat([book, torch.full((12, 3), 1e3)]) for book in books]  # so that 16 fit
    assert torch.equal(beam_search(x, wide, torch.full((50,), 3), 16), best)


def test_rounding_makes_no_frame_worse_whose_error_is_far_below_its_energy():
    random = torch.Generator().manual_seed(0)
    books = [30 * torch.randn(16, D, generator=random) * 0.05**k for k in range(6)]
    drawn = torch.randint(16, (6, 400), generator=random)
    x = sum(book[codes] for book, codes in zip(books, drawn, strict=True))
    x = x + 1e-3 * torch.randn(400, D, generator=random)
    left, greedy = x, []
    for book in books:
        greedy.append((left @ book.T - 0.5 * book.square().sum(1)).argmax(1))
        left = left - book[greedy[-1]]

    def errors_of(codes):
        kept = sum(book.double()[c] for book, c in zip(books, codes, strict=True))
        return (x.double() - kept).square().sum(1)

    found = beam_search(x, books, torch.full((400,), 6), 4)
    assert (errors_of(found.T) <= errors_of(greedy) * (1 + 1e-4)).all()


def test_every_item_has_its_own_depth_and_books_beyond_are_not_heard():
    quantizer, x = build(), latents(K + 1, seed=2)
    depth = torch.arange(K + 1)
    codes = quantizer.search(x, depth, 4)
    for item in range(K + 1):
        assert (codes[item, item:] == -1).all()
        alone = quantizer.search(x[item : item + 1], depth[item : item + 1], 4)
        assert torch.equal(alone[0], codes[item])


@pytest.mark.parametrize("name", ["rvq", "grvq"])
def test_a_beam_of_one_is_greedy(name):
    quantizer, x = build(name), latents()
    assert torch.equal(quantizer.search(x, full(K), 1), quantizer.encode(x))
    assert torch.equal(quantizer.search(x, full(3), 1)[:, :3], quantizer.encode(x)[:, :3])


def test_of_equal_paths_the_lower_code_is_taken():
    books = [torch.ones(4, 2), torch.zeros(4, 2)]
    codes = beam_search(torch.ones(5, 2), books, torch.full((5,), 2), 3)
    assert torch.equal(codes, torch.zeros(5, 2, dtype=torch.int64))


@pytest.mark.parametrize("beam_size", [0, -1, SIZE + 1])
def test_an_impossible_beam_is_refused(beam_size):
    with pytest.raises(ConfigError, match=f"beam_size={beam_size}; expected 1 to {SIZE}"):
        build().search(latents(), full(K), beam_size)
