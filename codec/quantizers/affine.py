"""Straight-through with less bias: affine entries, alternating steps, synchronised commitment."""

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Part
from .base import QUANTIZERS, GradientEstimator
from .codebook import LEARNING
from .mapped import EntryMap, MappedBook
from .residual import ResidualVQ

if TYPE_CHECKING:
    from .options import BookOptions


class AffineMap(EntryMap):
    """A scale and a shift per dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def forward(self, entries: Tensor) -> Tensor:
        """Map entries [V, dim] to [V, dim]."""
        return entries * self.scale + self.shift

    @torch.no_grad()
    def reset(self) -> None:
        """Become the identity."""
        self.scale.fill_(1)
        self.shift.zero_()


@LEARNING.register("affine")
class AffineBook(MappedBook):
    """Entries are a parameter, behind a learned scale and shift that all of them share."""

    movable = True

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, size: int, dim: int, shared: "BookOptions") -> None:
        super().__init__(AffineMap(dim), learned=True, size=size, dim=dim, shared=shared)

    def _place(self, codes: Tensor, entries: Tensor, share: Tensor) -> None:
        """Put entries where the table has them at `entries`."""
        assert isinstance(self.map, AffineMap)
        scale = torch.where(self.map.scale.abs() < 1e-3, 1e-3, self.map.scale)
        super()._place(codes, (entries - self.map.shift) / scale, share)


@QUANTIZERS.register("affine")
class AffineVQ(ResidualVQ):
    """Residual books of `AffineBook` that take a step of their own before the encoder's.

    ``learning="affine"`` re-parameterises the entries, ``inner_steps`` alternates the optimisation,
    and ``synchronise`` is how much of the decoder's gradient the entries get beside the encoder, so
    that both move as if the commitment looked one step ahead. Each works in any `ResidualVQ`.

    Reference: Straightening Out the Straight-Through Estimator, https://arxiv.org/abs/2305.08842
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with other defaults."""

        learning: Part = ComponentConfig("affine")
        gradient: GradientEstimator = "straight_through"
        inner_steps: Annotated[int, Field(ge=0)] = 1
        synchronise: Annotated[float, Field(ge=0)] = 2.0
