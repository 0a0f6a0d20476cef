"""Books that learn by gradient: entries as a parameter, or behind a map that all of them share."""

import math
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
        """Carry random entries [V, dim] to where as many random vectors serve inputs [N, dim] best.

        That is less wide than the inputs, and nowhere in directions of little energy: see
        `water_filled`.
        """
        values, vectors = _principal_variances(x)
        wide = water_filled(values, math.log2(len(entries)))
        self.weight.copy_((vectors * wide.sqrt()) @ vectors.T @ _whitening(entries))
        self.bias.copy_(x.mean(0) - self.weight @ entries.mean(0))


def water_filled(variances: Tensor, bits: float) -> Tensor:
    """Variances [D] of the Gaussian vectors that describe a Gaussian of `variances` [D] best.

    With so many bits the mean squared error of a direction is one level for all, or its variance
    where that is less; what is drawn as a description has the variance that is left.

    Reference: Elements of Information Theory (Cover and Thomas), reverse water-filling
    """
    order = variances.clamp_min(1e-12).sort(descending=True).values.log2()
    count = torch.arange(1, len(order) + 1, device=order.device)
    levels = (order.cumsum(0) - 2 * bits) / count  # if so many directions were described
    described = int((order > levels).sum())
    return (variances - 2 ** levels[described - 1]).clamp_min(0)


def _principal_variances(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variances [D] of the rows of `x` [N, D] along their principal directions, its columns [D, D]."""
    centred = x - x.mean(0)
    found = torch.linalg.eigh(centred.T @ centred / len(x))
    return found.eigenvalues, found.eigenvectors


def _whitening(x: Tensor) -> Tensor:
    """The matrix [D, D] after which the rows of `x` [N, D] have the same variance everywhere."""
    values, vectors = _principal_variances(x)
    floor = 1e-6 * values[-1].clamp_min(1e-12)
    scale = torch.where(values > floor, values.clamp_min(floor).rsqrt(), 0.0)
    whitening: Tensor = (vectors * scale) @ vectors.T
    return whitening
