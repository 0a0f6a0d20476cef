"""Quantizers side by side, each on its share of the channels: the frame of all product codes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import Quantized, Quantizer
from .gather import gather


class Grouped(Quantizer):
    """Equal quantizers on equal shares of the channels.

    Books are ordered layer by layer: the first book of every group, then the second of every
    group, so that any prefix of the books decodes.
    """

    def __init__(
        self, groups: Sequence[Quantizer], *, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        self.groups = nn.ModuleList(groups)

    @property
    def _groups(self) -> list[Quantizer]:
        return [group for group in self.groups if isinstance(group, Quantizer)]

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize each share of latents [B, T, D]; group g hears ceil((depth - g) / G) books."""
        shares = latents.chunk(len(self.groups), dim=-1)
        parts: list[Quantized] = [
            group(share, self._depth(depth, g))
            for g, (group, share) in enumerate(zip(self._groups, shares, strict=True))
        ]
        return gather(
            torch.cat([part.latents for part in parts], dim=-1),
            self._interleave([part.codes for part in parts]),
            [part.commitment for part in parts],
            parts,
        )

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        shares = latents.chunk(len(self.groups), dim=-1)
        return self._interleave(
            [group.encode(share) for group, share in zip(self._groups, shares, strict=True)]
        )

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths, group by group: int64 [B, K, T].

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        shares = latents.chunk(len(self.groups), dim=-1)
        return self._interleave(
            [
                group.search(share, self._depth(depth, g), beam_size)
                for g, (group, share) in enumerate(zip(self._groups, shares, strict=True))
            ]
        )

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, K, T] to latents [B, T, D]."""
        G = len(self.groups)
        return torch.cat([group.decode(codes[:, g::G]) for g, group in enumerate(self._groups)], -1)

    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start every group on its share of sample latents [N, D]."""
        for group, share in zip(self._groups, latents.chunk(len(self.groups), -1), strict=True):
            group.start(share, generator)

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart in every group; returns how many entries moved in all."""
        return sum(group.restart_unused(generator) for group in self._groups)

    def _depth(self, depth: Tensor, group: int) -> Tensor:
        """How many books group g hears of `depth`: ceil((depth - g) / G)."""
        G = len(self.groups)
        return (depth - group + G - 1).div(G, rounding_mode="floor")

    @staticmethod
    def _interleave(codes: list[Tensor]) -> Tensor:
        """G tensors [B, K / G, T] to [B, K, T], layer by layer."""
        return torch.stack(codes, dim=2).flatten(1, 2)


def shares_of(groups: int, latent_dim: int, num_codebooks: int) -> dict[str, int]:
    """Width and number of books of each group, by the names that quantizers take.

    Raises:
        ConfigError: `groups` does not divide them.
    """
    if latent_dim % groups or num_codebooks % groups:
        raise ConfigError(
            f"groups={groups} must divide latent_dim={latent_dim} and num_codebooks={num_codebooks}"
        )
    return {"latent_dim": latent_dim // groups, "num_codebooks": num_codebooks // groups}
