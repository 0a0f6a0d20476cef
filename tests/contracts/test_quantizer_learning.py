"""What a quantizer learns, from what, and that several processes learn the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .quantizer_cases import (
    CASES,
    NAMES,
    error,
    full,
    sample,
    snapshot,
    training_loss,
)


def learned_of(quantizer):
    """What the codebook loss trains: the books that learn by gradient, and what maps them."""
    others = ("projection.", "spread.")  # before the books
    found = quantizer.named_parameters()
    return [p for name, p in found if not any(part in name for part in others)]


def optimizer_of(quantizer):
    """Fast for vectors and slow for the matrices of a network; None if nothing learns."""
    groups = {0.05: [], 0.003: []}
    for name, parameter in quantizer.named_parameters():
        slow = any(part in name for part in ("compress", "blocks", "recover", "norm"))
        groups[0.003 if slow else 0.05].append(parameter)
    groups = [{"params": found, "lr": rate} for rate, found in groups.items() if found]
    return torch.optim.Adam(groups) if groups else None


def test_the_gradient_reaches_the_input_and_the_learned_codebooks(quantizer):
    latents = sample().requires_grad_()
    out = quantizer.train()(latents, full())
    training_loss(out).backward()
    assert latents.grad.isfinite().all()
    assert latents.grad.abs().amax(dim=(1, 2)).all()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_commitment_pulls_only_the_input_and_codebook_loss_only_the_codebooks(learned):
    latents = sample().requires_grad_()
    out = learned.train()(latents, full())
    parameters = learned_of(learned)
    pulled = torch.autograd.grad(
        out.commitment, [latents, *learned.parameters()], retain_graph=True, allow_unused=True
    )
    assert pulled[0].any()
    assert not any(gradient is not None and gradient.any() for gradient in pulled[1:])
    if parameters:
        pulled = torch.autograd.grad(out.codebook, [latents, *parameters], allow_unused=True)
        assert pulled[0] is None or not pulled[0].any()
        assert all(gradient.any() for gradient in pulled[1:])
    else:
        assert out.codebook == 0


def test_learning_lowers_the_error(learned):
    latents = 2 * sample(10, 50, seed=5) + 1  # not what the books started on
    before = error(learned, latents)
    learned.train()
    optimizer = optimizer_of(learned)
    for _ in range(60):
        out = learned(latents, full(10))
        if optimizer is not None:
            optimizer.zero_grad()
            (out.codebook + (out.latents - latents).square().mean()).backward()
            optimizer.step()
    # What three of the 24 dimensions cannot hold stays: 0.90 to 0.92 after these steps.
    narrow = any(getattr(m, "projection", None) is not None for m in learned.modules())
    assert error(learned.eval(), latents) < (0.95 if narrow else 0.8) * before


def test_evaluation_learns_nothing(quantizer):
    before = snapshot(quantizer)
    quantizer(sample(), full())
    quantizer.decode(quantizer.encode(sample()))
    assert all(torch.equal(t, before[name]) for name, t in quantizer.state_dict().items())


FIRST = [i for i, (name, _) in enumerate(CASES) if name not in [n for n, _ in CASES[:i]]]


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(FIRST, id="first options"),
        pytest.param(
            [i for i in range(len(CASES)) if i not in FIRST],
            id="other options",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_with_different_inputs_end_with_equal_books(tmp_path, chosen):
    cases, names = [CASES[i] for i in chosen], [NAMES[i] for i in chosen]
    worker = Path(__file__).with_name("quantizer_rank.py")
    processes = [
        subprocess.Popen(
            [sys.executable, worker, tmp_path / "store", str(rank), json.dumps(cases)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=110)[0]) for process in processes)
    differ = [name for name, a, b in zip(names, first, second, strict=True) if a != b]
    assert not differ
    assert len(set(first)) > len(first) / 2  # they did learn, each in its own way
