"""Smaller books from trained ones: the same structure, fewer bits, sensible codes."""

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


@pytest.mark.parametrize("name", ["rvq", "grvq", "simvq", "product", "split", "cascade"])
def test_smaller_books_code_in_fewer_bits_at_a_little_more_error(name):
    quantizer, x = build(name), latents(seed=1)
    small, _ = shrink(quantizer, 16, generator())
    codes = small.encode(x)
    assert (quantizer.codebook_size, small.codebook_size) == (SIZE, 16)
    assert codes.max() < 16
    large = error(quantizer, quantizer.encode(x), x)
    assert large < error(small, codes, x) < x.square().mean()


def test_clusters_beat_a_part_of_the_entries():
    quantizer, x = build(), latents(seed=1)
    small, _ = shrink(quantizer, 16, generator())
    part, _ = shrink(quantizer, 16, generator())
    for old, new in zip(quantizer.books, part.books, strict=True):
        new.entries.copy_(old.entries[:16])
    assert error(small, small.encode(x), x) < error(part, part.encode(x), x)


def test_old_codes_can_be_recoded_without_the_latents():
    quantizer, x = build(), latents(seed=1)
    small, falls = shrink(quantizer, 16, generator())
    codes = quantizer.encode(x)
    codes[0, 2:] = -1
    recoded = recode(codes, falls)
    assert torch.equal(recoded < 0, codes < 0)
    assert error(small, small.encode(x), x) < error(small, recode(quantizer.encode(x), falls), x)
    assert error(small, recoded[1:], x[1:]) < x.square().mean()
    vectors = quantizer.books[0].entries
    assert torch.equal(falls[0], torch.cdist(vectors, small.books[0].entries).argmin(1))


def test_the_smaller_quantizer_fits_the_configuration_of_plain_books():
    small, _ = shrink(build("simvq"), 16, generator())
    plain = QUANTIZERS.create("rvq", {}, latent_dim=D, num_codebooks=K, codebook_size=16).eval()
    plain.load_state_dict(small.state_dict())
    assert torch.equal(plain.encode(latents()), small.encode(latents()))


def test_entries_in_use_count_more():
    quantizer = build()
    book = quantizer.books[0]
    book.usage.fill_(1e-9)
    book.usage[:8] = 1 / 8
    small, _ = shrink(quantizer, 8, generator())
    distance = torch.cdist(book.entries[:8], small.books[0].entries).amin(1)
    assert distance.mean() < 0.5 * torch.cdist(book.entries, small.books[0].entries).amin(1).mean()


@pytest.mark.parametrize("size", [1, SIZE, 100])
def test_a_size_that_is_not_smaller_is_refused(size):
    with pytest.raises(ConfigError, match=f"codebook_size={size}; expected 2 to {SIZE - 1}"):
        shrink(build(), size, generator())


def test_a_grid_has_nothing_to_shrink():
    with pytest.raises(ConfigError, match="FSQ has no books of vectors"):
        shrink(build("fsq"), 16, generator())


def test_more_books_than_were_shrunk_are_refused():
    _, falls = shrink(build(), 16, generator())
    with pytest.raises(ConfigError, match="codes of 5 books, but 4 were shrunk"):
        recode(torch.zeros(1, 5, 3, dtype=torch.int64), falls)
