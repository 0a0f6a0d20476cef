"""What is special in each way to learn a book of vectors, and in the options that combine."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.assignment import nearest, soft_lookup
from sotto.codec.quantizers.kmeans import kmeans
from sotto.codec.quantizers.mapped import LinearMap, water_filled
from sotto.codec.quantizers.options import BookOptions, make_book
from sotto.codec.quantizers.terms import entropy_term, wasserstein_term

D, SIZE = 6, 16


def build(name="rvq", books=1, size=SIZE, started=True, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            name, options, latent_dim=D, num_codebooks=books, codebook_size=size
        )
    if started:
        quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer


def latents(batch=2, seed=0):
    return torch.randn(batch, 30, D, generator=torch.Generator().manual_seed(seed))


def full(batch=2, books=1):
    return torch.full((batch,), books)


def codebook_gradient(quantizer, x):
    """Where the table would move to by the codebook loss: bool [V]."""
    book = quantizer.train().books[0]
    before = book.table().detach().clone()
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)
    quantizer(x, full(len(x))).codebook.backward()
    optimizer.step()
    return (book.table().detach() - before).abs().amax(1) > 1e-6


# SimVQ, VQGAN-LC, FVQ, affine: a map of all entries.


@pytest.mark.parametrize("name", ["simvq", "vqgan-lc", "fvq", "affine"])
def test_one_input_moves_the_whole_table_of_a_mapped_book(name):
    quantizer, x = build(name), latents(1)[:, :1]
    assert codebook_gradient(quantizer, x).all()
    plain = codebook_gradient(build(learning="gradient"), x)
    assert plain.sum() == 1


@pytest.mark.parametrize(("name", "fixed"), [("simvq", True), ("vqgan-lc", True), ("fvq", False)])
def test_entries_behind_a_linear_map_stay_as_they_are(name, fixed):
    entries = build(name).books[0].entries
    assert isinstance(entries, torch.nn.Parameter) is not fixed


def test_water_filling_levels_the_error_and_spends_all_bits():
    variances = torch.tensor([0.01, 4.0, 1.0, 0.0])
    wide = water_filled(variances, 3.0)
    error = variances - wide
    torch.testing.assert_close(error, torch.tensor([0.01, 0.25, 0.25, 0.0]))
    assert 0.5 * (variances[1:3] / error[1:3]).log2().sum() == 3
    assert not water_filled(torch.zeros(4), 3.0).any()


def test_simvq_starts_at_the_mean_of_its_inputs_less_wide_than_they_are():
    x = latents(200).flatten(0, 1) @ torch.randn(D, D) + 3
    quantizer = build("simvq", size=4096, started=False)
    quantizer.start(x, torch.Generator().manual_seed(0))
    table = quantizer.books[0].table().detach()
    torch.testing.assert_close(table.mean(0), x.mean(0), atol=1e-3, rtol=1e-3)
    values, vectors = torch.linalg.eigh(x.T.cov(correction=0))
    wide = (vectors.T @ table.T.cov() @ vectors).diagonal()
    torch.testing.assert_close(wide, water_filled(values, 12.0), atol=1e-2, rtol=1e-2)


def test_a_linear_map_fits_inputs_that_lie_in_a_plane():
    x = latents(20).flatten(0, 1) * torch.tensor([1.0, 1, 0, 0, 0, 0])
    linear = LinearMap(D)
    linear.fit(torch.randn(100, D), x)
    assert linear.weight.isfinite().all()
    assert linear(torch.randn(50, D))[:, 2:].abs().max() < 1e-2


def test_vqgan_lc_starts_at_the_clustered_features():
    x = latents(20).flatten(0, 1)
    centres, _ = kmeans(x, SIZE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(build("vqgan-lc").books[0].table(), centres)


def test_the_bridge_starts_next_to_its_entries_and_passes_on_what_one_entry_learns():
    book = build("fvq").books[0]
    torch.testing.assert_close(book.table(), book.entries, atol=1e-2, rtol=0)
    with torch.no_grad():
        before = book.table()
        book.entries[0] += 1
        moved = (book.table() - before).abs().amax(1)
    assert (moved > 0).all()


def test_a_bridge_whose_tokens_do_not_divide_the_book_is_refused():
    with pytest.raises(ConfigError, match=r"quantizer 'fvq'.*tokens=5 must divide codebook_size"):
        build("fvq", learning={"name": "bridge", "options": {"tokens": 5}})


def test_an_affine_book_is_placed_where_its_table_shall_be():
    quantizer = build("affine")
    book = quantizer.books[0]
    with torch.no_grad():
        book.map.scale.fill_(2.0)
        book.map.shift.fill_(-1.0)
    x = latents(1, seed=9).flatten(0, 1)
    book.observe(x, book.search(x))
    book.usage.zero_()
    assert book.restart_unused(torch.Generator()) == SIZE
    assert torch.cdist(book.table(), x).amin(1).max() < 1e-2


# Alternating steps and synchronised commitment.


def test_inner_steps_lower_the_commitment_that_the_encoder_sees():
    x = 2 * latents()
    losses = [
        build(learning="gradient", inner_steps=steps, inner_rate=0.5).train()(x, full()).commitment
        for steps in (0, 1, 4)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_an_inner_step_at_rate_one_goes_to_the_mean_of_the_inputs():
    book = make_book(BookOptions(learning="gradient", inner_steps=1, inner_rate=1), size=4, dim=D)
    x = latents().flatten(0, 1) + 10
    codes = nearest(x, book.table().detach())
    used = codes.bincount(minlength=4) >= 15  # at least a uniform share
    book.train()(x)
    for code in used.nonzero().flatten().tolist():
        torch.testing.assert_close(book.entries[code].detach(), x[codes == code].mean(0))


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_synchronise_scales_the_decoders_gradient_to_the_entries_alone(factor):
    x = latents().requires_grad_()
    quantizer = build(learning="gradient", gradient="straight_through", synchronise=factor)
    out = quantizer(x, full())
    (out.latents * latents(seed=1)).sum().backward()
    torch.testing.assert_close(x.grad, latents(seed=1))
    plain = build(learning="gradient", gradient="straight_through")
    (plain(x, full()).latents * latents(seed=1)).sum().backward()
    torch.testing.assert_close(
        quantizer.books[0].entries.grad, factor * plain.books[0].entries.grad
    )


# CVQ.


def test_anchors_draw_unused_entries_to_inputs_and_leave_used_ones():
    quantizer = build("cvq").train()
    book = quantizer.books[0]
    with torch.no_grad():
        book.entries[:4] = 50.0  # far from all inputs
        book.usage[:4] = 0
        book.usage[4:] = 1 / 12
    before = book.entries.detach().clone()
    quantizer(latents(), full())
    assert torch.cdist(book.entries[:4], latents().flatten(0, 1)).amin(1).max() < 0.2
    assert torch.equal(book.entries[4:], before[4:])


# OptVQ.


def test_transport_uses_all_entries_where_the_nearest_would_use_few():
    quantizer = build("optvq", started=False).train()
    with torch.no_grad():
        quantizer.books[0].entries[1:] += 20
    x = latents(8)
    assert len(nearest(x, quantizer.books[0].table()).unique()) == 1
    assert len(quantizer(x, full(8)).codes.unique()) > 0.75 * SIZE
    assert len(quantizer.eval()(x, full(8)).codes.unique()) == 1


def test_transport_gives_the_nearest_where_use_is_even_already():
    x = 10 * torch.eye(D).repeat(10, 1)
    book = make_book(BookOptions(assignment="sinkhorn"), size=D, dim=D).train()
    table = 9 * torch.eye(D)
    assert torch.equal(book.assignment(x, table).codes, nearest(x, table))


# IBQ and Gumbel-softmax.


def test_the_soft_lookup_has_the_value_of_the_entry_and_the_gradient_of_the_softmax():
    table, logits = latents()[0, :5].requires_grad_(), torch.randn(3, 5, requires_grad=True)
    codes, weight = torch.tensor([4, 0, 2]), torch.randn(3, D)
    found = soft_lookup(logits, codes, table)
    assert torch.equal(found, table[codes])
    (ours,) = torch.autograd.grad((found * weight).sum(), logits)
    (soft,) = torch.autograd.grad(((logits.softmax(-1) @ table.detach()) * weight).sum(), logits)
    torch.testing.assert_close(ours, soft)


def test_index_backpropagation_gives_every_entry_a_gradient():
    x = latents(1)[:, :1]
    quantizer = build("ibq", entropy=0.0).train()
    (quantizer(x, full(1)).latents * latents(1, seed=1)[:, :1]).sum().backward()
    assert quantizer.books[0].entries.grad.abs().amax(1).all()


def test_gumbel_draws_by_the_shares_and_less_and_less_at_random():
    options = {"temperature": 0.5, "final_temperature": 1e-4, "annealing": 0.5}
    quantizer = build("gumbel", assignment={"name": "gumbel", "options": options}).train()
    x = latents(8)
    codes = [quantizer(x, full(8)).codes for _ in range(20)]
    expected = quantizer.encode(x)
    agreement = [(found == expected).float().mean().item() for found in codes]
    assert agreement[0] < 0.9
    assert agreement[-1] > 0.99


def test_gumbel_draws_the_same_after_the_same_number_of_steps():
    one, two = build("gumbel").train(), build("gumbel").train()
    torch.rand(3)
    first = [one(latents(), full()).codes for _ in range(2)]
    assert torch.equal(first[0], two(latents(), full()).codes)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", ["optvq", "gumbel", "ibq"])
def test_encoding_takes_the_nearest_entry_whatever_the_assignment(name):
    quantizer = build(name).train()
    expected = nearest(latents(), quantizer.books[0].table())
    assert torch.equal(quantizer.encode(latents())[:, 0], expected)


# Extra losses.


def test_entropy_is_lowest_for_sure_and_even_choices():
    table = 10 * torch.eye(4)
    even = table.repeat(5, 1)
    one = table[:1] + torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    unsure = 0.5 * (even + even.roll(1, dims=1))  # halfway between two entries
    values = [entropy_term(x, table, 0.1).item() for x in (even, one, unsure)]
    assert values[0] == pytest.approx(-1, abs=0.05)
    assert values[0] < min(values[1:]) - 0.3


def test_the_wasserstein_distance_is_zero_for_the_same_distribution_and_knows_shares():
    x = latents(20).flatten(0, 1)
    even = torch.full((len(x),), 1 / len(x))
    assert wasserstein_term(x, x.flip(0), even) < 1e-10
    table = torch.stack([torch.zeros(D), torch.ones(D)])
    inputs = table[[0, 0, 0, 1]]
    assert wasserstein_term(inputs, table, torch.tensor([0.75, 0.25])) < 1e-10
    assert wasserstein_term(inputs, table, torch.tensor([0.25, 0.75])) > 0.1


def test_the_wasserstein_term_carries_a_far_book_to_its_inputs():
    table = (torch.randn(32, D) + 5).requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.1)
    x, even = latents().flatten(0, 1), torch.full((32,), 1 / 32)
    for _ in range(200):
        optimizer.zero_grad()
        wasserstein_term(x, table, even).backward()
        optimizer.step()
    torch.testing.assert_close(table.mean(0).detach(), x.mean(0), atol=0.2, rtol=0)


# Sphere.


def test_normalized_books_compare_angles():
    quantizer = build(normalize=True)
    x = latents()
    codes = quantizer.encode(x)
    assert torch.equal(codes, quantizer.encode(7 * x))
    torch.testing.assert_close(quantizer.decode(codes).norm(dim=-1), torch.ones(2, 30))


# Options that do not go together.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning": "ema", "inner_steps": 1}, "no gradient steps to take"),
        ({"learning": "simvq", "upkeep": "anchors"}, "cannot move the entries of learning='simvq'"),
        ({"gradient": "assignment"}, "needs an assignment that is differentiable"),
        ({"assignment": "sinkhron"}, "did you mean 'sinkhorn'"),
        ({"assignment": {"name": "sinkhorn", "options": {"epsilon": 0}}}, "epsilon"),
        ({"learning": {"name": "ema", "options": {"x": 1}}}, "unknown field 'x'"),
        ({"decay": 1.0}, "decay"),
    ],
)
def test_options_that_cannot_work_are_clear_errors(options, message):
    with pytest.raises(ConfigError, match=rf"quantizer 'rvq'.*{message}"):
        build(**options)


def test_a_sphere_is_for_one_book():
    with pytest.raises(ConfigError, match="normalize is for one book, not num_codebooks=2"):
        build(books=2, normalize=True)


@pytest.mark.parametrize(("books", "size"), [(0, 16), (4, 1)])
@pytest.mark.parametrize("name", ["rvq", "fsq", "lfq"])
def test_no_books_and_books_of_one_entry_are_refused(name, books, size):
    with pytest.raises(ConfigError, match=r"expected at least 1 book of 2 entries|levels"):
        QUANTIZERS.create(name, {}, latent_dim=D, num_codebooks=books, codebook_size=size)
