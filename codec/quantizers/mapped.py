"""Books that learn by gradient: entries as a parameter, or behind a map that all of them share."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN
from .codebook import LEARNING, Codebook

if TYPE_CHECKING:
    from .options import BookOptions


@LEARNING.register("gradient")
class GradientBook(Codebook):
    """Entries are a parameter.

    Reference: VQ-VAE, https://arxiv.org/abs/1711.00937
    """

    by_gradient = True

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, size: int, dim: int, shared: "BookOptions") -> None:
        super().__init__(size=size, dim=dim, shared=shared)
        self._fill(torch.randn(size, dim) * dim**-0.5, learned=True)


class EntryMap(nn.Module, ABC):
    """What makes entries [V, D] into a table [V, D]."""

    @abstractmethod
    def forward(self, entries: Tensor) -> Tensor:
        """Map entries [V, D] to the table [V, D]."""

    @abstractmethod
    def reset(self) -> None:
        """Become the identity, or nearly so."""


class MappedBook(Codebook):
    """A table that is what a learned map makes of the entries.

    Every input moves the map, and with it all entries, also those that no input was given to.
    """

    by_gradient = True
    movable = False  # a place in the table is not that of its entry
    map: EntryMap

    def __init__(
        self, entry_map: EntryMap, *, learned: bool, size: int, dim: int, shared: "BookOptions"
    ) -> None:
        super().__init__(size=size, dim=dim, shared=shared)
        self._fill(torch.randn(size, dim) * dim**-0.5, learned=learned)
        self.map = entry_map

    def _vectors(self) -> Tensor:
        table: Tensor = self.map(self.entries)
        return table

    @torch.no_grad()
    def start(self, x: Tensor, generator: torch.Generator) -> None:
        """K-means of inputs [N, dim] as entries, and the identity as map."""
        self.map.reset()
        super().start(x, generator)


class LinearMap(EntryMap):
    """A matrix and a shift."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, entries: Tensor) -> Tensor:
        """Map entries [V, dim] to [V, dim]."""
        return entries @ self.weight.T + self.bias

    @torch.no_grad()
    def reset(self) -> None:
        """Become the identity."""
        self.weight.copy_(torch.eye(len(self.bias)))
        self.bias.zero_()

    @torch.no_grad()
    def fit(self, entries: Tensor, x: Tensor) -> None:
        """Carry the mean and covariance of entries [V, dim] to those of inputs [N, dim]."""
        root, inverse = _root(x, 0.5), _root(entries, -0.5)
        self.weight.copy_(root @ inverse)
        self.bias.copy_(x.mean(0) - self.weight @ entries.mean(0))


def _root(x: Tensor, power: float) -> Tensor:
    """A power of the covariance [D, D] of the rows of `x` [N, D]."""
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    floor = 1e-6 * values[-1].clamp_min(1e-12)
    scale = torch.where(values > floor, values.clamp_min(floor) ** power, 0.0)
    root: Tensor = (vectors * scale) @ vectors.T
    return root
