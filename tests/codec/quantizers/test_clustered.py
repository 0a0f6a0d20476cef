"""Smaller books from trained ones: the same structure, fewer bits, sensible codes."""

import copy

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.clustered import recode, shrink

D, K, SIZE = 8, 4, 64


def build(name="rvq", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            name, options, latent_dim=D, num_codebooks=K, codebook_size=SIZE
        )
    quantizer.start(latents(40).flatten(0, 1), generator())
    return quantizer.eval().requires_grad_(False)


def latents(batch=4, seed=0):
    return torch.randn(batch, 30, D, generator=torch.Generator().manual_seed(seed))


def generator():
    return torch.Generator().manual_seed(0)


def error(quantizer, codes, x):
    return (quantizer.decode(codes) - x).square().mean().item()


OPTIONS = {"split": {"semantic_dim": 4}}


@pytest.mark.parametrize("name", ["rvq", "grvq", "simvq", "product", "split", "cascade"])
def test_smaller_books_code_in_fewer_bits_at_a_little_more_error(name):
    quantizer, x = build(name, **OPTIONS.get(name, {})), latents(seed=1)
    small = shrink(quantizer, 16, generator())
    codes = small.encode(x)
    assert (quantizer.codebook_size, small.codebook_size) == (SIZE, 16)
    assert codes.max() < 16
    large = error(quantizer, quantizer.encode(x), x)
    assert large < error(small, codes, x) < x.square().mean()


def test_clusters_beat_a_part_of_the_entries_and_clusters_of_each_book_alone():
    quantizer, x = build(), latents(20, seed=1)
    small = shrink(quantizer, 16, generator())
    part, alone = copy.deepcopy(small), copy.deepcopy(small)
    for k, book in enumerate(quantizer.books):
        part.books[k].entries.copy_(book.entries[:16])
        alone.books[k].start(book.entries, generator())
    errors = [error(q, q.encode(x), x) for q in (small, part, alone)]
    assert errors[0] < min(errors[1:])


def test_codes_are_recoded_without_the_latents_and_missing_books_stay_missing():
    quantizer, x = build(), latents(seed=1)
    small = shrink(quantizer, 16, generator())
    codes = quantizer.encode(x)
    codes[0, 2:] = -1
    recoded = recode(codes, quantizer, small)
    assert torch.equal(recoded < 0, codes < 0)
    assert recoded.max() < 16
    whole = error(small, recoded[1:], x[1:])
    assert whole < 1.3 * error(small, small.encode(x[1:]), x[1:])


def test_the_smaller_quantizer_fits_the_configuration_of_plain_books():
    small = shrink(build("ibq"), 16, generator())
    plain = QUANTIZERS.create("rvq", {}, latent_dim=D, num_codebooks=K, codebook_size=16).eval()
    plain.load_state_dict(small.state_dict())
    assert torch.equal(plain.encode(latents()), small.encode(latents()))


def test_entries_that_nothing_uses_do_not_count():
    quantizer = build()
    book = quantizer.books[0]
    book.usage.zero_()
    book.usage[:8] = 1 / 8
    entries = shrink(quantizer, 8, generator()).books[0].entries
    used = torch.cdist(entries, book.entries[:8]).amin(1)
    assert used.mean() < 0.3 * torch.cdist(entries, book.entries[8:]).amin(1).mean()


def test_the_trained_quantizer_stays_as_it_is():
    quantizer = build()
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    shrink(quantizer, 16, generator())
    assert all(torch.equal(t, before[name]) for name, t in quantizer.state_dict().items())


@pytest.mark.parametrize("size", [1, SIZE, 100])
def test_a_size_that_is_not_smaller_is_refused(size):
    with pytest.raises(ConfigError, match=f"codebook_size={size}; expected 2 to {SIZE - 1}"):
        shrink(build(), size, generator())


@pytest.mark.parametrize(
    ("name", "options"), [("fsq", {}), ("product", {"groups": 1, "inner": "lfq"})]
)
def test_a_grid_has_nothing_to_shrink(name, options):
    with pytest.raises(ConfigError, match="has no books of vectors"):
        shrink(build(name, **options), 16, generator())
