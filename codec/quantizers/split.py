"""Split quantization: a semantic book and acoustic books in parallel, their outputs summed."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Part
from ..errors import ConfigError
from .base import QUANTIZERS, Quantized, Quantizer, usable, with_all_books
from .gather import gather
from .kmeans import principal_directions


@QUANTIZERS.register("split")
class SplitVQ(Quantizer):
    """Book 0 and the others each quantize the latents through a projection of their own.

    What book 0 learns of a teacher does not cost the others anything, because they do not code its
    residual. `semantic_latents` is what a distillation loss looks at. The two projections start
    side by side, on the directions of most energy and the next ones.

    Reference: Moshi, https://arxiv.org/abs/2410.00037 (Mimi's split RVQ)
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            semantic_dim: Width of the space of book 0.
            acoustic_dim: Width of the space of the other books; both together at most the
                latents'. None for what book 0 leaves.
            semantic: Quantizer of book 0; its option ``codebook_dim`` is set.
            acoustic: Quantizer of the others; likewise.
        """

        semantic_dim: Annotated[int, Field(gt=0)] = 8
        acoustic_dim: Annotated[int, Field(gt=0)] | None = None
        semantic: Part = ComponentConfig("rvq")
        acoustic: Part = ComponentConfig("rvq")

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        self.semantic_dim = config.semantic_dim
        acoustic_dim = config.acoustic_dim or latent_dim - config.semantic_dim
        if num_codebooks < 2 or acoustic_dim < 1 or config.semantic_dim + acoustic_dim > latent_dim:
            raise ConfigError(
                f"semantic_dim={config.semantic_dim} and acoustic_dim={acoustic_dim} of "
                f"latent_dim={latent_dim} in num_codebooks={num_codebooks}; expected two books or "
                "more, and widths that fit beside each other"
            )
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        sizes = {"latent_dim": latent_dim, "codebook_size": codebook_size}
        widths = (config.semantic_dim, acoustic_dim)
        books = (1, num_codebooks - 1)
        self.parts = nn.ModuleList(
            QUANTIZERS.create(
                part.name, part.options | {"codebook_dim": width}, num_codebooks=count, **sizes
            )
            for part, width, count in zip(
                (config.semantic, config.acoustic), widths, books, strict=True
            )
        )

    @property
    def _parts(self) -> list[Quantizer]:
        return [part for part in self.parts if isinstance(part, Quantizer)]

    @staticmethod
    def _depths(depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth.clamp_max(1), (depth - 1).clamp_min(0)

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; book 0 is heard first."""
        found: list[Quantized] = [
            part(latents, some) for part, some in zip(self._parts, self._depths(depth), strict=True)
        ]
        return gather(
            found[0].latents + found[1].latents,
            torch.cat([part.codes for part in found], dim=1),
            [part.commitment for part in found],
            found,
        )

    def semantic_latents(self, latents: Tensor) -> Tensor:
        """What book 0 makes of latents [B, T, D], with gradient: [B, T, D]."""
        only = torch.ones(len(latents), dtype=torch.int64, device=latents.device)
        out: Quantized = self._parts[0](latents, only)
        return out.latents

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        return torch.cat([part.encode(latents) for part in self._parts], dim=1)

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Codes of the first ``depth[b]`` books; a beam goes through the acoustic ones.

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        semantic, acoustic = self._parts
        first, rest = self._depths(depth)
        found = semantic.search(latents, first, 1), acoustic.search(latents, rest, beam_size)
        return torch.cat(found, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, k, T], k <= K, to latents [B, T, D]."""
        codes = with_all_books(codes, self.num_codebooks)
        semantic, acoustic = self._parts
        return semantic.decode(codes[:, :1]) + acoustic.decode(codes[:, 1:])

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start book 0 on the first directions of latents [N, D], the others on the rest.

        Raises:
            CodecError: No latents, or some are not finite.
        """
        latents = usable(latents)
        directions = principal_directions(latents, self.semantic_dim)
        semantic = latents @ directions.T @ directions
        for part, share in zip(self._parts, (semantic, latents - semantic), strict=True):
            part.start(share, generator)

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart in both; returns how many entries moved in all."""
        return sum(part.restart_unused(generator) for part in self._parts)
