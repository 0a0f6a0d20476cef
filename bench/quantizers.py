"""Trains quantizers on the same latents with the same bits and the same budget."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sotto.codec.quantizers import Quantizer

from .contenders import Contender
from .latents import SpeechLatents
from .quantizer_scores import Trial, measure

Start = Callable[[Quantizer, Tensor, torch.Generator], None]


@dataclass(frozen=True)
class Budget:
    """What each quantizer gets to train; steps, because seconds depend on what runs beside.

    Attributes:
        steps: Training steps.
        start_frames: Latents that the start sees.
        batch_size: Stretches in a step.
        learning_rate: At the start; it falls to zero linearly, as FVQ asks for.
    """

    steps: int = 100
    start_frames: int = 5000
    batch_size: int = 8
    learning_rate: float = 1e-3


def compare_one(
    latents: SpeechLatents, contender: Contender, budget: Budget, *, seed: int, listen: int
) -> list[Trial]:
    """Train one quantizer from one seed and measure it, greedily and with each of its beams.

    Args:
        latents: What to train on and to measure with.
        contender: The quantizer.
        budget: What it may take.
        seed: Of weights and batches.
        listen: How many held-out clips to decode and score.
    """
    quantizer, seconds = train(latents.train, contender, budget, seed=seed)
    return [
        measure(
            latents,
            contender,
            quantizer,
            seed=seed,
            listen=listen,
            beam_size=beam,
            spent=(budget.steps, seconds),
        )
        for beam in (1, *contender.beams)
    ]


def train(
    latents: Tensor,
    contender: Contender,
    budget: Budget,
    *,
    seed: int,
    start: Start | None = None,
) -> tuple[Quantizer, float]:
    """A quantizer trained on latents [N, T, D], and the processor time of that in seconds.

    The loss is the squared error of the latents over their variance, with the quantizer's own.

    Args:
        latents: Stretches to draw batches from.
        contender: The quantizer.
        budget: What it may take.
        seed: Of weights and batches.
        start: Starts it on latents [M, D] in place of its own `start`.
    """
    began = time.process_time()
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        quantizer = contender.build(latents.shape[-1])
        rows = torch.randperm(latents.shape[0] * latents.shape[1], generator=random)
        sample = latents.flatten(0, 1)[rows[: budget.start_frames]]
        (start or type(quantizer).start)(quantizer, sample, random)
        optimizer = None
        if any(True for _ in quantizer.parameters()):
            optimizer = torch.optim.Adam(quantizer.parameters(), lr=budget.learning_rate)
        quantizer.train()
        scale = latents.var().item()
        for number in range(budget.steps):
            for group in optimizer.param_groups if optimizer else ():
                group["lr"] = budget.learning_rate * (1 - number / budget.steps)
            picks = torch.randint(len(latents), (budget.batch_size,), generator=random)
            step(quantizer, latents[picks], scale, optimizer)
            if number % 50 == 49:
                quantizer.restart_unused(random)
    return quantizer.eval().requires_grad_(False), time.process_time() - began


def step(
    quantizer: Quantizer, x: Tensor, scale: float, optimizer: torch.optim.Optimizer | None
) -> None:
    """One training step on latents [B, T, D]; every item hears all books."""
    out = quantizer(x, torch.full((len(x),), quantizer.num_codebooks))
    if optimizer is None:
        return
    loss = ((out.latents - x).square().mean() + out.codebook) / scale
    if out.auxiliary is not None:
        loss = loss + out.auxiliary
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
