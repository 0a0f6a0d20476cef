"""What is special in residual quantization: one gradient for all books, greedy search, learning."""

import pytest
import torch

from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.base import pass_gradient
from sotto.codec.quantizers.options import BookOptions, make_book


def build(num_codebooks=4, started=True, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            "rvq", options, latent_dim=6, num_codebooks=num_codebooks, codebook_size=16
        )
    if started:
        quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer


def latents(batch=2, seed=0):
    return torch.randn(batch, 30, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_the_gradient_of_the_input_is_not_multiplied_by_the_number_of_books(gradient):
    sizes = []
    for books in (1, 4, 8):
        x = latents().requires_grad_()
        out = build(books, gradient=gradient)(x, torch.full((2,), books))
        (out.latents * latents(seed=1)).sum().backward()
        sizes.append(x.grad.norm().item())
    assert max(sizes) < 1.5 * min(sizes)


def test_straight_through_copies_the_gradient():
    x, weight = latents().requires_grad_(), latents(seed=1)
    out = build(gradient="straight_through")(x, torch.full((2,), 4))
    (out.latents * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)


def test_rotation_keeps_the_angle_between_gradient_and_vector():
    x, weight = latents().requires_grad_(), latents(seed=1)
    target = latents(seed=2)
    moved = pass_gradient(x, target, "rotation")
    torch.testing.assert_close(moved, target)
    (moved * weight).sum().backward()

    def cosine(a, b):
        return torch.nn.functional.cosine_similarity(a, b, dim=-1)

    torch.testing.assert_close(cosine(x.grad, x.detach()), cosine(weight, target))
    scale = target.norm(dim=-1) / x.detach().norm(dim=-1)
    torch.testing.assert_close(x.grad.norm(dim=-1), weight.norm(dim=-1) * scale)


def test_opposite_vectors_have_a_finite_rotation():
    x = latents().requires_grad_()
    pass_gradient(x, -x.detach(), "rotation").sum().backward()
    assert x.grad.isfinite().all()


def test_the_commitment_is_what_the_books_leave_over():
    quantizer, x = build(1).eval(), latents()
    out = quantizer(x, torch.full((2,), 1))
    left = (x - quantizer.decode(out.codes)).square().mean()
    torch.testing.assert_close(out.commitment, left)


def test_a_code_is_the_nearest_entry():
    book = build(1).books[0]
    x = latents().flatten(0, 1)
    assert torch.equal(book.search(x), torch.cdist(x, book.entries).argmin(1))


def test_moving_averages_end_at_the_mean_of_the_inputs():
    book = build(1, started=False, decay=0.5).books[0]
    x = torch.tensor([[1.0, 0, 0, 0, 0, 0], [3.0, 0, 0, 0, 0, 0]])
    for _ in range(60):
        book.observe(x, torch.tensor([5, 5]))
    torch.testing.assert_close(book.entries[5], x.mean(0))
    torch.testing.assert_close(book.usage, torch.eye(16)[5], atol=1e-6, rtol=0)


def test_entries_without_usage_keep_their_place():
    book = build(1, decay=0.5).books[0]
    before = book.entries.clone()
    for _ in range(200):
        book.observe(torch.ones(4, 6), torch.full((4,), 3))
    others = torch.arange(16) != 3
    torch.testing.assert_close(book.entries[others], before[others], atol=1e-4, rtol=1e-3)


def test_usage_sums_to_one():
    quantizer = build().train()
    for seed in range(5):
        quantizer(latents(seed=seed), torch.full((2,), 4))
    for book in quantizer.books:
        assert book.usage.sum().item() == pytest.approx(1, abs=1e-4)


def test_the_threshold_is_a_share_of_uniform_use():
    with torch.random.fork_rng():
        book = make_book(BookOptions(restart_threshold=0.1), size=16, dim=6)
    book.observe(latents().flatten(0, 1), torch.zeros(60, dtype=torch.int64))
    book.usage.fill_(1 / 16)
    book.usage[4] = 0.09 / 16
    book.usage[5] = 0.11 / 16
    assert book.restart_unused(torch.Generator()) == 1
    assert book.usage[4] == 1 / 16


def test_restarted_entries_are_different_recent_inputs():
    book = build(1, restart_threshold=0.5).books[0]
    x = latents(seed=8).flatten(0, 1)
    book.observe(x, book.search(x))
    book.usage.zero_()
    assert book.restart_unused(torch.Generator().manual_seed(0)) == 16
    distance = torch.cdist(book.entries, x)
    assert distance.amin(1).max() < 1e-2
    assert len(distance.argmin(1).unique()) == 16


def test_the_projection_starts_at_the_principal_directions_and_learns():
    quantizer = build(codebook_dim=3).train()
    down, up = quantizer.projection.down.weight, quantizer.projection.up.weight
    torch.testing.assert_close(down @ down.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.equal(up, down.T)
    quantizer(latents(), torch.full((2,), 4)).latents.square().sum().backward()
    assert down.grad.abs().sum() > 0
    assert up.grad.abs().sum() > 0
