"""Finite scalar quantization: a few bounded dimensions, each rounded to a grid; no book to learn."""

import math
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN
from ..errors import ConfigError
from .base import QUANTIZERS
from .scaled import ScaledGrid

Levels = tuple[Annotated[int, Field(ge=2)], ...]


class BoxGrid(ScaledGrid):
    """The centres of the cells that `levels` cut from the cube [-1, 1]^d, found by rounding."""

    grid: Tensor
    levels: Tensor
    strides: Tensor

    def __init__(
        self,
        levels: tuple[int, ...] | None,
        *,
        latent_dim: int,
        num_codebooks: int,
        codebook_size: int,
    ) -> None:
        levels = levels or default_levels(codebook_size)
        size = math.prod(levels)
        if size != codebook_size:
            raise ConfigError(
                f"levels={levels} make {size} codes, not codebook_size={codebook_size}"
            )
        if len(levels) > latent_dim:
            raise ConfigError(f"levels={levels} are more than latent_dim={latent_dim}")
        super().__init__(
            torch.tensor([1 / n for n in levels]) ** torch.arange(num_codebooks)[:, None],
            width=len(levels),
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        axes = [(2 * torch.arange(n) + 1) / n - 1 for n in levels]  # centres of n cells of [-1, 1]
        self.register_buffer("grid", torch.cartesian_prod(*axes).view(size, -1), persistent=False)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        strides = [math.prod(levels[d + 1 :]) for d in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def unit_nearest(self, x: Tensor) -> Tensor:
        """Code of the cell that `x` [..., d] is in, or nearest to."""
        cell = ((x + 1) * self.levels / 2).floor()
        cell = cell.nan_to_num().clamp_min(0).minimum(self.levels - 1)
        return (cell.long() * self.strides).sum(-1)

    def unit_points(self, codes: Tensor) -> Tensor:
        """Centres of cells [..., d]."""
        return nn.functional.embedding(codes, self.grid)


@QUANTIZERS.register("fsq")
class FSQ(BoxGrid):
    """A grid per book, on what the coarser grids before it left over; one book is plain FSQ.

    Latents are projected to as many dimensions as there are levels and bounded by tanh. The grids
    of all books are the same but for their scale, which is learned, so that later books keep a
    range worth coding.

    Reference: Finite Scalar Quantization, https://arxiv.org/abs/2309.15505
    """

    attracts = False

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            levels: Grid points of each dimension; their product is `codebook_size`. None for
                fours, and an eight where they do not come out even.
        """

        levels: Levels | None = None

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__(
            config.levels,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )

    def bound(self, x: Tensor) -> Tensor:
        """Into the cube."""
        return x.tanh()

    def fit(self, residual: Tensor, book: int) -> None:
        """Each grid divides the cells of the one before."""


def default_levels(codebook_size: int) -> tuple[int, ...]:
    """Fours, with one eight where a two would be left; a two by itself."""
    bits = (codebook_size - 1).bit_length()
    if bits % 2 and bits > 1:
        return (8, *[4] * ((bits - 3) // 2))
    return tuple([4] * (bits // 2)) or (2,)
