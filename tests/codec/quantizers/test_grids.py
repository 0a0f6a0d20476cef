"""What is special in each point set that is found by arithmetic."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.leech import ALL, EIGHTS, LENGTH, ODD, golay_words
from sotto.codec.quantizers.lfq import SignGrid, sign_entropy


def build(name, books=1, size=16, dim=24, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return QUANTIZERS.create(
            name, options, latent_dim=dim, num_codebooks=books, codebook_size=size
        )


def latents(batch=4, dim=24, seed=0):
    return torch.randn(batch, 30, dim, generator=torch.Generator().manual_seed(seed))


def started(name, books, **options):
    quantizer = build(name, books, **options)
    quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer.requires_grad_(False)


@pytest.mark.parametrize("name", ["llvq", "lfq", "bsq", "binary", "latent", "leech"])
@pytest.mark.parametrize("book", [0, 2])
def test_what_arithmetic_finds_is_the_nearest_of_all_points(name, book):
    quantizer = started(name, 3)
    x = 0.7**book * torch.randn(200, quantizer.projection.up.in_features)
    table = quantizer.tables()[book]
    distance = torch.cdist(x, table)
    found = distance.gather(1, quantizer.nearest(x, book)[:, None])[:, 0]
    torch.testing.assert_close(found, distance.amin(1))
    assert len(table.unique(dim=0)) == 16


@pytest.mark.parametrize("name", ["llvq", "lfq", "bsq", "binary", "latent", "leech"])
def test_a_beam_is_never_worse_than_greedy(name):
    quantizer, x = started(name, 3), latents(seed=3)
    bounded = quantizer.narrow(x)
    greedy = (quantizer._sum(quantizer.encode(x)) - bounded).square().sum(-1)
    found = (quantizer._sum(quantizer.search(x, torch.full((4,), 3), 4)) - bounded).square().sum(-1)
    assert (found <= greedy * (1 + 1e-5)).all()
    if not isinstance(quantizer, SignGrid):  # of signs that halve, greedy search finds the best
        assert found.mean() < greedy.mean()


# LFQ, BSQ, binary latents.


def test_a_code_is_the_signs_with_the_highest_bit_first():
    quantizer = build("lfq", size=8)
    x = torch.tensor([[0.1, -2.0, 3.0], [-1.0, -1.0, -1.0], [1.0, 1.0, -0.1]])
    assert quantizer.nearest(x, 0).tolist() == [0b101, 0, 0b110]


def test_the_first_book_of_bsq_lies_on_the_sphere():
    table = build("bsq", 2, size=32).tables()[0]
    torch.testing.assert_close(table.norm(dim=1), torch.ones(32))


def test_the_entropy_of_signs_is_lowest_for_sure_and_even_ones():
    even = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    size = torch.ones(2)
    values = [sign_entropy(x, size, 0.2).item() for x in (even, even.abs(), 0.01 * even)]
    assert values[0] == pytest.approx(-1, abs=0.01)
    assert values[1] == pytest.approx(0, abs=0.01)
    assert values[2] == pytest.approx(0, abs=0.01)


def test_binary_bits_are_drawn_with_their_probability_in_training_only():
    quantizer = build("binary", size=2).train()
    with torch.no_grad():
        quantizer.projection.down.weight.zero_()[0, 0] = 1
    x = torch.zeros(1, 4000, 24)
    x[..., 0] = 1.0
    share = quantizer(x, torch.ones(1, dtype=torch.int64)).codes.float().mean().item()
    assert share == pytest.approx(1 / (1 + 2.718281828**-1), abs=0.03)
    assert quantizer.eval()(x, torch.ones(1, dtype=torch.int64)).codes.all()
    assert quantizer.steps == 1


def test_bits_need_a_power_of_two_and_a_dimension_each():
    with pytest.raises(ConfigError, match="codebook_size=12 is not a power of two"):
        build("lfq", size=12)
    with pytest.raises(ConfigError, match="needs 4 dimensions, more than latent_dim=3"):
        build("bsq", dim=3)


# LL-VQ and latent quantization.


def test_the_lattice_learns_one_number_per_dimension_and_fits_its_inputs():
    quantizer = build("llvq", size=16)
    assert quantizer.scales.numel() == 2
    optimizer = torch.optim.Adam([quantizer.scales], lr=0.2)
    x = 5 * latents(20)
    errors = []
    for _ in range(100):
        out = quantizer(x, torch.full((20,), 1))
        optimizer.zero_grad()
        out.codebook.backward()
        optimizer.step()
        errors.append(out.codebook.item())
    assert errors[-1] < 0.2 * errors[0]


def test_a_dimension_of_latent_quantization_takes_the_nearest_of_its_values():
    quantizer = build("latent", size=12, levels=(4, 3))
    with torch.no_grad():
        quantizer.values[0][0] = torch.tensor([-3.0, -1.0, 0.0, 9.0])
        quantizer.values[1][0] = torch.tensor([5.0, 6.0, 7.0])
    code = quantizer.nearest(torch.tensor([[-0.4, 6.6]]), 0)
    assert code.item() == 2 * 3 + 2
    assert quantizer.points(code, 0).tolist() == [[0.0, 7.0]]


def test_levels_that_do_not_fit_are_refused():
    for name in ("llvq", "latent"):
        with pytest.raises(ConfigError, match="make 15 codes"):
            build(name, size=16, levels=(5, 3))
        with pytest.raises(ConfigError, match="levels"):
            build(name, size=16, levels=(1, 16))


# Leech.


def test_the_golay_code_has_its_weights():
    words = golay_words()
    assert len(words.unique(dim=0)) == 4096
    assert words.sum(1).bincount()[[0, 8, 12, 16, 24]].tolist() == [1, 759, 2576, 759, 1]


def distinct(vectors):
    """How many different rows there are, told apart by their products with a random vector."""
    random = torch.Generator().manual_seed(0)
    keys = vectors.double() @ torch.randn(24, generator=random, dtype=torch.float64)
    return int((keys.sort().values.diff() > 1e-9).sum()) + 1


@pytest.fixture(scope="module")
def whole():
    """The Leech quantizer of all minimal vectors, and these vectors as integers."""
    quantizer = build("leech", size=ALL).requires_grad_(False)
    return quantizer, quantizer.unit_points(torch.arange(ALL)) * LENGTH


def test_the_book_is_all_minimal_vectors_of_the_lattice(whole):
    _, vectors = whole
    integers = vectors.round()
    torch.testing.assert_close(vectors, integers, atol=1e-4, rtol=0)
    assert (integers.square().sum(1) == 32).all()
    assert distinct(integers) == 196560
    products = integers[::9973] @ integers.T
    assert set(products.unique().tolist()) == {-32, -16, -8, 0, 8, 16, 32}


def test_decoding_finds_the_nearest_of_all_196560(whole):
    quantizer, vectors = whole
    x = torch.randn(100, 24, generator=torch.Generator().manual_seed(0))
    codes = quantizer.unit_nearest(x)
    products = x @ vectors.T
    best = products.amax(1)
    torch.testing.assert_close(products.gather(1, codes[:, None])[:, 0], best)
    own = torch.tensor([0, 5000, ODD - 1, ODD, ODD + 777, ODD + EIGHTS - 1, ODD + EIGHTS, ALL - 1])
    assert torch.equal(quantizer.unit_nearest(vectors[own]), own)
    near = vectors[own] + 0.1 * torch.randn(8, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(quantizer.unit_nearest(near), own)


@pytest.mark.parametrize("size", [16, 4096, 8192])
def test_parts_of_the_lattice_hold_the_opposite_of_every_vector(size):
    vectors = (build("leech", size=size).unit_points(torch.arange(size)) * LENGTH).round()
    assert distinct(vectors) == distinct(torch.cat([vectors, -vectors])) == size


@pytest.mark.parametrize(("size", "dim"), [(100, 24), (1 << 17, 24), (16, 23)])
def test_sizes_that_the_lattice_does_not_have_are_refused(size, dim):
    with pytest.raises(ConfigError, match=r"codebook_size=|latent_dim=23 is below"):
        build("leech", size=size, dim=dim)
