"""Residual quantization on fixed or barely learned point sets, found by arithmetic, not by search."""

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers import at_least_float32
from .base import Quantized, check_sizes, sum_of_books, usable
from .projection import Projection
from .searched import SearchedBooks


class GridQuantizer(SearchedBooks):
    """A point set per book, on what the books before it left over.

    Latents are projected to `width` dimensions and bounded; there each book takes its nearest
    point. The gradient passes the sum of all points unchanged. Subclasses say what the points are.
    """

    attracts = True  # whether there are a commitment and a codebook loss

    def __init__(
        self, *, width: int, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        check_sizes(num_codebooks, codebook_size)
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        self.projection = Projection(latent_dim, width)

    @abstractmethod
    def bound(self, x: Tensor) -> Tensor:
        """Projected latents [..., width] to where the points are, such as a cube or a sphere."""

    @abstractmethod
    def nearest(self, x: Tensor, book: int) -> Tensor:
        """Code int64 [...] of the point of `book` nearest to `x` [..., width]."""

    @abstractmethod
    def points(self, codes: Tensor, book: int) -> Tensor:
        """Points [..., width] of codes int64 [...] of `book`, with gradient to what learns."""

    @abstractmethod
    def fit(self, residual: Tensor, book: int) -> None:
        """Set what can be set of `book` from residuals [N, width]."""

    def choose(self, residual: Tensor, book: int) -> Tensor:
        """Codes in training; as in serving unless a method says otherwise."""
        return self.nearest(residual, book)

    def auxiliary(self, bounded: Tensor) -> Tensor | None:
        """A weighted loss of the method's own on bounded latents [B, T, width], or None."""
        return None

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; the gradient passes the rounding unchanged."""
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            bounded = self.bound(self.projection.down(x))
            codes, residual = [], bounded.detach()
            zero = bounded.new_zeros(())
            commitment = codebook = zero
            total = torch.zeros_like(bounded)
            held = self.bound(F.linear(x, self.projection.down.weight.detach()))
            for k in range(self.num_codebooks):
                choose = self.choose if self.training else self.nearest
                codes.append(choose(residual, k))
                points = self.points(codes[-1], k)
                kept = (k < depth).to(bounded)[:, None, None]
                if self.attracts:
                    codebook = codebook + F.mse_loss(points, residual) / self.num_codebooks
                    held = held - points.detach()
                    commitment = commitment + (kept * held.square()).mean() / self.num_codebooks
                residual = residual - points.detach()
                total = total + kept * points
            quantized = self.projection.up(total + bounded - bounded.detach())
            auxiliary = self.auxiliary(bounded)
        return Quantized(quantized, torch.stack(codes, 1), commitment, codebook, auxiliary)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        codes = []
        with torch.autocast(latents.device.type, enabled=False):
            residual = self.narrow(latents)
            for k in range(self.num_codebooks):
                codes.append(self.nearest(residual, k))
                residual = residual - self.points(codes[-1], k)
        return torch.stack(codes, dim=1)

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
            bounded = residual = self.narrow(latents)
            for k in range(self.num_codebooks):
                self.fit(residual, k)
                residual = residual - self.points(self.nearest(residual, k), k)
            self.projection.fit_up(bounded - residual, latents)

    def restart_unused(self, generator: torch.Generator) -> int:
        """A grid has nothing to restart: 0."""
        return 0

    def tables(self) -> list[Tensor]:
        """The points [V, width] of every book."""
        codes = torch.arange(self.codebook_size, device=self.projection.down.weight.device)
        return [self.points(codes, k) for k in range(self.num_codebooks)]

    def narrow(self, latents: Tensor) -> Tensor:
        """Latents [..., D] projected and bounded: [..., width]."""
        return self.bound(self.projection.down(at_least_float32(latents)))

    def _sum(self, codes: Tensor) -> Tensor:
        """Sum of the points heard: codes [B, k, T] to [B, T, width]."""
        B, K, T = codes.shape
        width = self.projection.up.in_features
        if not K:
            return self.projection.up.weight.new_zeros(B, T, width)
        points = torch.stack([self.points(codes[:, k].clamp_min(0), k) for k in range(K)], dim=1)
        return sum_of_books(points * (codes >= 0)[..., None])
