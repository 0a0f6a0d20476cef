"""Codes and what they stand for: ranges, prefixes, depth, and no frame that knows of another."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers.multi_scale import MultiScaleVQ

from .quantizer_cases import SIZE, K, error, full, sample


def test_codes_are_int64_in_range_one_per_book_and_frame(quantizer):
    codes = quantizer.encode(sample())
    assert codes.shape == (3, K, 20)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < SIZE


def test_sizes_are_told(quantizer):
    assert (quantizer.num_codebooks, quantizer.codebook_size) == (K, SIZE)


def test_encoding_gives_the_codes_of_the_training_pass(quantizer):
    latents = sample()
    assert torch.equal(quantizer(latents, full()).codes, quantizer.encode(latents))


def test_decoding_gives_the_latents_of_the_training_pass(quantizer):
    out = quantizer(sample(), full())
    torch.testing.assert_close(quantizer.decode(out.codes), out.latents, atol=1e-5, rtol=0)


def test_depth_decides_how_many_books_each_item_hears(quantizer):
    latents, depth = sample(K + 1), torch.arange(K + 1)
    out = quantizer(latents, depth)
    assert torch.equal(out.codes, quantizer.encode(latents))
    for item in range(K + 1):
        heard = quantizer.decode(out.codes[item : item + 1, :item])
        torch.testing.assert_close(heard[0], out.latents[item], atol=1e-5, rtol=0)


def test_missing_books_and_books_not_heard_are_the_same(quantizer):
    codes = quantizer.encode(sample())
    for books in range(K + 1):
        marked = codes.clone()
        marked[:, books:] = -1
        assert torch.equal(quantizer.decode(marked), quantizer.decode(codes[:, :books]))


def test_nothing_heard_is_zero(quantizer):
    assert not quantizer.decode(torch.full((2, K, 5), -1)).any()


def test_more_books_never_raise_the_error(quantizer):
    latents = sample(10, 50, seed=1)  # what the books started on
    errors = [error(quantizer, latents, books) for books in range(K + 1)]
    assert errors == sorted(errors, reverse=True)


def test_frames_and_items_do_not_influence_each_other(quantizer):
    latents = sample().double()
    quantizer = quantizer.double()
    codes = quantizer.encode(latents)
    assert torch.equal(quantizer.encode(latents[1:2])[0], codes[1])
    assert torch.equal(quantizer.encode(latents[:, 7:8]), codes[:, :, 7:8])
    alone, among_others = quantizer.decode(codes[:, :, 7:8]), quantizer.decode(codes)[:, 7:8]
    torch.testing.assert_close(alone, among_others, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_search_for_a_depth_is_never_worse_than_its_prefix(quantizer, beam_size):
    latents, depth = sample(K + 1), torch.arange(K + 1)
    if beam_size > 1 and isinstance(quantizer, MultiScaleVQ):
        with pytest.raises(ConfigError, match="MultiScaleVQ has no residual stages to search"):
            quantizer.search(latents, depth, beam_size)
        return
    codes = quantizer.search(latents, depth, beam_size)
    greedy = quantizer.encode(latents)
    for item in range(K + 1):
        assert (codes[item, item:] == -1).all()
        assert (codes[item, :item] >= 0).all()
    if beam_size == 1:
        for item in range(K + 1):
            assert torch.equal(codes[item, :item], greedy[item, :item])
    elif getattr(quantizer, "projection", None) is None and not hasattr(quantizer, "groups"):
        short = torch.where(codes >= 0, greedy, -1)
        found = (quantizer.decode(codes) - latents).square().sum(-1)
        assert (found <= (quantizer.decode(short) - latents).square().sum(-1) * (1 + 1e-5)).all()
