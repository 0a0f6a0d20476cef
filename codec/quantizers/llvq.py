"""LL-VQ: a lattice whose basis is learned, one number per dimension, found by rounding."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN
from .base import QUANTIZERS
from .fsq import BoxGrid, Levels


@QUANTIZERS.register("llvq")
class LatticeVQ(BoxGrid):
    """A diagonal lattice, cut to a box of `levels` so that its codes are finite.

    Unlike FSQ nothing bounds the latents: the spacing of the lattice, `scales`, learns to fit them,
    and `sparsity` pulls it wider, so that few points are enough.

    Reference: Learnable Lattice Vector Quantization, https://arxiv.org/abs/2310.09382
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            levels: Lattice points of each dimension; their product is `codebook_size`. None for
                fours, and an eight where they do not come out even.
            sparsity: Weight of the loss that widens the lattice.
        """

        levels: Levels | None = None
        sparsity: Annotated[float, Field(ge=0)] = 1e-3

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__(
            config.levels,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.config = config

    def bound(self, x: Tensor) -> Tensor:
        """Nothing."""
        return x

    def auxiliary(self, bounded: Tensor) -> Tensor | None:
        """Low for wide lattices."""
        if not self.config.sparsity:
            return None
        return -self.config.sparsity * self.scales.abs().clamp_min(1e-6).log().mean()
