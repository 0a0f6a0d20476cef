"""Gumbel-softmax: the code is sampled in training, with a gradient through the relaxation."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, Part
from .assignment import ASSIGNMENTS, Assigned
from .base import QUANTIZERS, GradientEstimator
from .draws import draws
from .ibq import SoftAssignment
from .residual import ResidualVQ


@ASSIGNMENTS.register("gumbel")
class GumbelSoftmax(SoftAssignment):
    """Codes drawn by their softmax shares, less and less at random as the temperature falls.

    Reference: vq-wav2vec, https://arxiv.org/abs/1910.05453
    """

    steps: Tensor

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            temperature: At the start, in units of the inputs' variance.
            final_temperature: Where it ends.
            annealing: Factor per step.
        """

        temperature: Annotated[float, Field(gt=0)] = 0.1
        final_temperature: Annotated[float, Field(gt=0)] = 0.005
        annealing: Annotated[float, Field(gt=0, le=1)] = 0.998

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, table: Tensor) -> Assigned:
        """Give inputs [..., D] their entries of the table [V, D]."""
        assigned = super().forward(x, table)
        if self.training and x.numel():
            self.steps += 1
        return assigned

    def _logits(self, x: Tensor, table: Tensor) -> Tensor:
        logits = super()._logits(x, table)
        uniform = torch.rand(logits.shape, generator=draws(int(self.steps))).clamp(1e-10, 1 - 1e-7)
        return logits - (-uniform.log()).log().to(logits)

    def _temperature(self) -> float:
        c = self.config
        return max(c.final_temperature, c.temperature * c.annealing ** int(self.steps))


@QUANTIZERS.register("gumbel")
class GumbelVQ(ResidualVQ):
    """Residual books that learn by gradient through `GumbelSoftmax`."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with other defaults."""

        learning: Part = ComponentConfig("gradient")
        assignment: Part = ComponentConfig("gumbel")
        gradient: GradientEstimator = "assignment"
