"""Finite scalar quantization: a few bounded dimensions, each rounded to a grid; no book to learn."""

import math
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import NOT_HEARD, QUANTIZERS, Quantized, Quantizer, sum_of_books, usable
from .beam import search_books
from .projection import Projection


@QUANTIZERS.register("fsq")
class FSQ(Quantizer):
    """A grid per book, on what the coarser grids before it left over; one book is plain FSQ.

    Latents are projected to as many dimensions as there are levels and bounded by tanh. The grids
    of all books are the same but for their scale, which is learned, so that later books keep a
    range worth coding.

    Reference: Finite Scalar Quantization, https://arxiv.org/abs/2309.15505
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            levels: Grid points of each dimension; their product is `codebook_size`. None for
                fours, and an eight where they do not come out even.
        """

        levels: tuple[Annotated[int, Field(ge=2)], ...] | None = None

    grid: Tensor
    levels: Tensor
    strides: Tensor

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        levels = config.levels or default_levels(codebook_size)
        size = math.prod(levels)
        if size != codebook_size:
            raise ConfigError(
                f"levels={levels} make {size} codes, not codebook_size={codebook_size}"
            )
        if len(levels) > latent_dim:
            raise ConfigError(f"levels={levels} are more than latent_dim={latent_dim}")
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        self.projection = Projection(latent_dim, len(levels))
        axes = [(2 * torch.arange(n) + 1) / n - 1 for n in levels]  # centres of n cells of [-1, 1]
        self.register_buffer("grid", torch.cartesian_prod(*axes).view(size, -1), persistent=False)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        strides = [math.prod(levels[d + 1 :]) for d in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        finer = torch.tensor([1 / n for n in levels]) ** torch.arange(num_codebooks)[:, None]
        self.scales = nn.Parameter(finer)  # [K, dimensions]

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; the gradient passes the rounding unchanged."""
        with torch.autocast(latents.device.type, enabled=False):
            bounded = self._bound(latents)
            codes = self._search(bounded.detach())
            heard = torch.arange(self.num_codebooks, device=codes.device) < depth[:, None]
            total = self._sum(torch.where(heard[:, :, None], codes, NOT_HEARD))
            quantized = self.projection.up(total + bounded - bounded.detach())
        zero = quantized.new_zeros(())
        return Quantized(quantized, codes, zero, zero)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        with torch.autocast(latents.device.type, enabled=False):
            return self._search(self._bound(latents))

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths of ``depth[b]`` books: int64 [B, K, T].

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        if beam_size == 1:
            return super().search(latents, depth, 1)
        with torch.autocast(latents.device.type, enabled=False):
            return search_books(self._bound(latents), list(self._books()), depth, beam_size)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, k, T] to latents [B, T, D]."""
        with torch.autocast(codes.device.type, enabled=False):
            latents: Tensor = self.projection.up(self._sum(codes))
        return latents

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Turn to the principal directions of sample latents [N, D], most of them within bounds.

        Raises:
            CodecError: No latents, or some are not finite.
        """
        latents = usable(latents)
        with torch.autocast(latents.device.type, enabled=False):
            self.projection.start(latents)
            size = self.projection.down(latents).square().mean(0).sqrt().clamp_min(1e-6)
            self.projection.down.weight.div_(size[:, None])
            bounded = self._bound(latents)
            energy = bounded.T @ bounded + 1e-6 * len(latents) * torch.eye(len(size)).to(bounded)
            self.projection.up.weight.copy_(torch.linalg.solve(energy, bounded.T @ latents).T)

    def restart_unused(self, generator: torch.Generator) -> int:
        """A grid has nothing to restart: 0."""
        return 0

    def _bound(self, latents: Tensor) -> Tensor:
        bounded: Tensor = self.projection.down(at_least_float32(latents)).tanh()
        return bounded

    def _books(self) -> Tensor:
        """Entries of all books, [K, V, dimensions]."""
        return self.grid * self.scales[:, None]

    def _search(self, bounded: Tensor) -> Tensor:
        """The nearest grid point of each book, by rounding: [B, T, d] to int64 [B, K, T]."""
        counts = self.levels
        codes, residual = [], bounded
        for scale in self.scales:
            cell = ((residual / scale + 1) * counts / 2).floor()
            cell = cell.nan_to_num().clamp_min(0).minimum(counts - 1)
            codes.append((cell.long() * self.strides).sum(-1))
            residual = residual - scale * ((2 * cell + 1) / counts - 1)
        return torch.stack(codes, dim=1)

    def _sum(self, codes: Tensor) -> Tensor:
        """Sum of the grid points heard: codes [B, k, T] to [B, T, d]."""
        K = codes.shape[1]
        points = nn.functional.embedding(codes.clamp_min(0), self.grid)
        scaled = points * self.scales[:K, None] * (codes >= 0)[..., None]
        return sum_of_books(scaled)


def default_levels(codebook_size: int) -> tuple[int, ...]:
    """Fours, with one eight where a two would be left; a two by itself."""
    bits = (codebook_size - 1).bit_length()
    if bits % 2 and bits > 1:
        return (8, *[4] * ((bits - 3) // 2))
    return tuple([4] * (bits // 2)) or (2,)
