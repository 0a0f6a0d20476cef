"""Product quantization: many small books side by side, over any quantizer (multi-group, MGVQ)."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, Part
from ..layers import at_least_float32
from .base import QUANTIZERS
from .kmeans import principal_directions
from .projected_groups import ProjectedGroups


@QUANTIZERS.register("product")
class ProductVQ(ProjectedGroups):
    """The width is kept and split in groups, each with a quantizer of its own.

    A fixed rotation to the principal directions of the first latents comes before: then the first
    groups hold most of the energy, and a prefix of the groups, which is what training with random
    depth masks to, is worth most.

    Reference: MGVQ, https://arxiv.org/abs/2507.07997
    """

    directions: Tensor

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            groups: How many; None for one per book.
            inner: The quantizer of each group, by name, with its options.
        """

        groups: Annotated[int, Field(gt=0)] | None = None
        inner: Part = ComponentConfig("rvq")

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__(
            config.inner,
            config.groups or num_codebooks,
            width=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.register_buffer("directions", torch.eye(latent_dim))

    def down(self, latents: Tensor) -> Tensor:
        """Latents [..., D] in the principal directions."""
        return at_least_float32(latents) @ self.directions.T

    def up(self, vectors: Tensor) -> Tensor:
        """Turn [..., D] back."""
        return vectors @ self.directions

    def turn(self, latents: Tensor) -> None:
        """Take all principal directions of sample latents [N, D]."""
        self.directions.copy_(principal_directions(latents, latents.shape[1]))
