"""What is special in group-residual quantization: the order of books, and groups that do not mix."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS


def build(groups=2, num_codebooks=6, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            "grvq",
            {"groups": groups} | options,
            latent_dim=12,
            num_codebooks=num_codebooks,
            codebook_size=16,
        )
    quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer.eval()


def latents(batch=2, seed=0):
    return torch.randn(batch, 30, 12, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_any_prefix_decodes_and_each_book_helps(groups):
    quantizer, x = build(groups), latents(20)
    codes = quantizer.encode(x)
    errors = [(quantizer.decode(codes[:, :k]) - x).square().mean().item() for k in range(7)]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == 7


@pytest.mark.parametrize("groups", [2, 3])
def test_books_are_ordered_layer_by_layer(groups):
    quantizer = build(groups)
    codes = quantizer.encode(latents())
    width = 12 // groups
    for books in range(1, 7):
        heard = quantizer.decode(codes[:, :books])
        moved = (heard - quantizer.decode(codes[:, : books - 1])).abs().amax(dim=(0, 1))
        group = (books - 1) % groups
        expected = torch.arange(12) // width == group
        assert torch.equal(moved > 0, expected)


def test_groups_are_independent():
    quantizer, x = build(), latents()
    other = x.clone()
    other[..., 6:] = latents(seed=1)[..., 6:]
    codes, changed = quantizer.encode(x), quantizer.encode(other)
    assert torch.equal(codes[:, 0::2], changed[:, 0::2])
    assert not torch.equal(codes[:, 1::2], changed[:, 1::2])


@pytest.mark.parametrize("depth", range(7))
def test_depth_in_training_is_the_prefix_in_decoding(depth):
    quantizer, x = build(3), latents()
    out = quantizer(x, torch.full((2,), depth))
    expected = quantizer.decode(out.codes[:, :depth])
    torch.testing.assert_close(out.latents, expected, atol=1e-5, rtol=0)


def test_one_group_is_residual_quantization():
    grvq, x = build(1), latents()
    rvq = QUANTIZERS.create("rvq", {}, latent_dim=12, num_codebooks=6, codebook_size=16).eval()
    rvq.load_state_dict(grvq.groups[0].state_dict())
    assert torch.equal(rvq.encode(x), grvq.encode(x))


@pytest.mark.parametrize(("groups", "books"), [(5, 5), (4, 6)])
def test_groups_must_divide_width_and_books(groups, books):
    with pytest.raises(ConfigError, match=f"groups={groups} must divide latent_dim=12 and num"):
        build(groups, books)


def test_entries_wider_than_a_groups_share_are_refused():
    with pytest.raises(ConfigError, match="codebook_dim=7 is wider than latent_dim=6"):
        build(2, codebook_dim=7)
