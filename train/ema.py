"""A moving average of a module's weights, for evaluation and export."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class MovingAverage(Generic[M]):
    """Exponential moving average of parameters, from where the module settles."""

    def __init__(self, module: M, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, *, settled: bool) -> None:
        """Move towards `module` after a step of it.

        While what feeds the module still moves, nothing is averaged and `module` is copied: an
        average over weights made for latents that are gone fits none of them.
        """
        decay = self.decay if settled else 0.0
        for average, value in zip(self.module.parameters(), module.parameters(), strict=True):
            average.lerp_(value, 1 - decay)
