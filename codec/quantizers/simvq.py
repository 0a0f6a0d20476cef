"""SimVQ: a frozen random codebook behind one linear layer, which is all that learns."""

from typing import TYPE_CHECKING

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, Part
from .base import QUANTIZERS
from .codebook import LEARNING
from .mapped import LinearMap, MappedBook
from .residual import ResidualVQ

if TYPE_CHECKING:
    from .options import BookOptions


@LEARNING.register("simvq")
class RandomLinearBook(MappedBook):
    """Frozen Gaussian entries times a learned matrix, plus a learned shift.

    The entries stay random, so there is no k-means: the matrix starts where random entries serve the
    inputs best. That start is ours; with the inputs' own covariance entries are too far out.

    Reference: Addressing Representation Collapse in Vector Quantized Models with One Linear Layer,
    https://arxiv.org/abs/2411.02038
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, size: int, dim: int, shared: "BookOptions") -> None:
        super().__init__(LinearMap(dim), learned=False, size=size, dim=dim, shared=shared)

    @torch.no_grad()
    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """Draw the entries, and carry them to where they serve inputs [N, dim] best."""
        entries = torch.randn(self.size, self.dim, generator=generator) * self.dim**-0.5
        self.entries.copy_(entries)
        assert isinstance(self.map, LinearMap)
        self.map.fit(self.entries, x)
        self.usage.fill_(1 / self.size)


@QUANTIZERS.register("simvq")
class SimVQ(ResidualVQ):
    """Residual books of `RandomLinearBook`."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with another default."""

        learning: Part = ComponentConfig("simvq")
