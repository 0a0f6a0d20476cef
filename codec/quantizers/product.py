"""Product quantization: many small books side by side, over any quantizer (multi-group, MGVQ)."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, Part
from ..layers import at_least_float32
from .base import QUANTIZERS, Quantized, usable
from .grouped import Grouped, shares_of
from .kmeans import principal_directions


@QUANTIZERS.register("product")
class ProductVQ(Grouped):
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
        G = config.groups or num_codebooks
        sizes = shares_of(G, latent_dim, num_codebooks)
        inner = config.inner
        super().__init__(
            [
                QUANTIZERS.create(inner.name, inner.options, codebook_size=codebook_size, **sizes)
                for _ in range(G)
            ],
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.register_buffer("directions", torch.eye(latent_dim))

    def _turned(self, latents: Tensor) -> Tensor:
        return at_least_float32(latents) @ self.directions.T

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; the first groups are heard first."""
        with torch.autocast(latents.device.type, enabled=False):
            out = super().forward(self._turned(latents), depth)
            quantized = out.latents @ self.directions
        return Quantized(quantized, out.codes, out.commitment, out.codebook, out.auxiliary)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        with torch.autocast(latents.device.type, enabled=False):
            return super().encode(self._turned(latents))

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths, group by group: int64 [B, K, T].

        Raises:
            ConfigError: The groups have no residual stages to search, or an impossible size.
        """
        with torch.autocast(latents.device.type, enabled=False):
            return super().search(self._turned(latents), depth, beam_size)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, K, T] to latents [B, T, D]."""
        with torch.autocast(codes.device.type, enabled=False):
            return super().decode(codes) @ self.directions

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Turn to the principal directions, then start every group, on sample latents [N, D]."""
        latents = usable(latents)
        with torch.autocast(latents.device.type, enabled=False):
            self.directions.copy_(principal_directions(latents, latents.shape[1]))
            super().start(self._turned(latents), generator)
