"""Where a quantizer starts, and which entries a restart moves."""

import pytest
import torch

from sotto.codec.errors import CodecError
from sotto.codec.quantizers.gumbel import GumbelSoftmax
from sotto.codec.quantizers.optvq import Sinkhorn
from sotto.codec.quantizers.simvq import RandomLinearBook

from .quantizer_cases import D, books_of, build, entries, error, full, is_grid, sample, snapshot


def keeps_random_entries(quantizer):
    """Entries that are never placed on latents."""
    return any(isinstance(book, RandomLinearBook) for book in books_of(quantizer))


def test_the_kmeans_start_beats_random_entries(request, quantizer):
    unstarted = build(*request.node.callspec.params["quantizer"], started=False)
    latents = sample(seed=3)
    grid = is_grid(quantizer)
    assert error(quantizer, latents) < (0.9 if grid else 0.5) * error(unstarted, latents)


def test_it_can_start_on_fewer_latents_than_entries_but_not_on_none(learned):
    learned.start(sample(1, 3)[0], torch.Generator())
    assert keeps_random_entries(learned) or error(learned, sample(1, 3)) < 1e-2
    with pytest.raises(CodecError, match="not there"):
        learned.start(torch.zeros(0, D), torch.Generator())


def test_the_start_is_decided_by_the_generator_alone(learned):
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)  # the global generator must not matter
        learned.start(sample(5, 50).flatten(0, 1), torch.Generator().manual_seed(seed))
        states.append(entries(snapshot(learned)))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_restart_moves_unused_entries_and_no_others(learned):
    latents = sample(1, 1).expand(4, 30, D)  # one entry per book is all that is used
    for book in books_of(learned):
        book.usage.mul_(0.1)  # as if for long
    for _ in range(50):
        learned.train()(latents, full(4))
    learned(sample(4, 30), full(4))
    before = entries(snapshot(learned))
    codes = learned.encode(latents)
    meaning = learned.decode(codes)
    drawn = any(isinstance(book.assignment, GumbelSoftmax) for book in books_of(learned))
    fixed = any(not b.movable or b.options.upkeep != "restart" for b in books_of(learned))
    moved = learned.restart_unused(torch.Generator().manual_seed(0))
    if drawn or fixed:  # chance gives every entry inputs, or there is no restart
        assert not (fixed and moved)
        return
    after = entries(learned.state_dict())
    changed = {name: (after[name] != before[name]).any(dim=1) for name in after}
    assert 0 < moved == sum(int(rows.sum()) for rows in changed.values())
    # Transport in training and the nearest entry in encoding may use different entries.
    spread = any(isinstance(book.assignment, Sinkhorn) for book in books_of(learned))
    if not spread and not any(book.options.inner_steps for book in books_of(learned)):
        assert torch.equal(learned.decode(codes), meaning)
    assert learned.restart_unused(torch.Generator()) == 0


def test_a_restart_before_any_input_moves_nothing(quantizer):
    before = snapshot(quantizer)
    for name, tensor in quantizer.named_buffers():
        if name.endswith(".usage"):
            tensor.zero_()
    assert quantizer.restart_unused(torch.Generator()) == 0
    after = entries(quantizer.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
