"""A moving average of a module's weights, for evaluation and export."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class MovingAverage(Generic[M]):
    """Exponential moving average of parameters; the first steps weigh more, so it starts at once."""

    def __init__(self, module: M, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int, *, settled: bool) -> None:
        """Move towards `module` after global `step`.

        While what feeds the module still moves, nothing is averaged and `module` is copied: an
        average over weights made for latents that are gone fits none of them.
        """
        decay = min(self.decay, (1 + step) / (10 + step)) if settled else 0.0
        for average, value in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
