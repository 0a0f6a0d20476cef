"""Groups below a linear map: the frame of quantizers that turn the latents before they split them."""

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from ..config import ComponentConfig
from .base import QUANTIZERS, Quantized, usable
from .grouped import Grouped, shares_of


class ProjectedGroups(Grouped):
    """Equal groups on what a linear map makes of the latents; what they decode is mapped back.

    Subclasses say what the map is.
    """

    def __init__(
        self,
        inner: ComponentConfig,
        groups: int,
        *,
        width: int,
        num_codebooks: int,
        codebook_size: int,
    ) -> None:
        sizes = shares_of(groups, width, num_codebooks)
        super().__init__(
            [
                QUANTIZERS.create(inner.name, inner.options, codebook_size=codebook_size, **sizes)
                for _ in range(groups)
            ],
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )

    @abstractmethod
    def down(self, latents: Tensor) -> Tensor:
        """Latents [..., D] to where the groups are: [..., width], in float32 or better."""

    @abstractmethod
    def up(self, vectors: Tensor) -> Tensor:
        """Back: [..., width] to latents [..., D]."""

    @abstractmethod
    def turn(self, latents: Tensor) -> None:
        """Turn the map to the principal directions of sample latents [N, D]."""

    def judge(self, out: Quantized, latents: Tensor, depth: Tensor) -> Quantized:
        """What the groups give, with losses of the method's own; unchanged if it has none.

        Args:
            out: Of all groups, with their latents [B, T, width].
            latents: The input [B, T, D].
            depth: int64 [B].
        """
        return out

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; the first book of every group is heard first."""
        with torch.autocast(latents.device.type, enabled=False):
            out = self.judge(super().forward(self.down(latents), depth), latents, depth)
            return replace(out, latents=self.up(out.latents))

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        with torch.autocast(latents.device.type, enabled=False):
            return super().encode(self.down(latents))

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths, group by group: int64 [B, K, T].

        Raises:
            ConfigError: The groups have no residual stages to search, or an impossible size.
        """
        with torch.autocast(latents.device.type, enabled=False):
            return super().search(self.down(latents), depth, beam_size)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, K, T] to latents [B, T, D]."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.up(super().decode(codes))

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Turn to the principal directions, then start every group, on sample latents [N, D].

        Raises:
            CodecError: No latents, or some are not finite.
        """
        latents = usable(latents)
        with torch.autocast(latents.device.type, enabled=False):
            self.turn(latents)
            super().start(self.down(latents), generator)
