"""One point set for all residual books, at a learned scale for each."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from .grid import GridQuantizer

FIT_ROWS = 1024  # residuals that a scale is tried on


def spread_of(residual: Tensor) -> Tensor:
    """Root mean square of each dimension of [N, D], never zero."""
    return residual.square().mean(0).sqrt().clamp_min(1e-6)


class ScaledGrid(GridQuantizer):
    """One point set for all books, each at a scale of its own that is learned: ``scales`` [K, d].

    Later books are finer: their residuals are smaller.
    """

    def __init__(
        self,
        scales: Tensor,
        *,
        width: int,
        latent_dim: int,
        num_codebooks: int,
        codebook_size: int,
    ) -> None:
        super().__init__(
            width=width,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.scales = nn.Parameter(scales)

    @abstractmethod
    def unit_nearest(self, x: Tensor) -> Tensor:
        """Code int64 [...] of the point of scale 1 nearest to `x` [..., width]."""

    @abstractmethod
    def unit_points(self, codes: Tensor) -> Tensor:
        """Points [..., width] at scale 1."""

    def nearest(self, x: Tensor, book: int) -> Tensor:
        """Nearest at this book's scale."""
        return self.unit_nearest(x / self.scales[book])

    def points(self, codes: Tensor, book: int) -> Tensor:
        """Points at this book's scale."""
        return self.unit_points(codes) * self.scales[book]

    def fit(self, residual: Tensor, book: int) -> None:
        """The best of several scales, in units of the residuals' size, per dimension if it has any.

        They are tried on `FIT_ROWS` of the residuals, which are enough for one number.
        """
        residual = residual[:: -(-len(residual) // FIT_ROWS)]
        axes = () if self.scales.shape[1] == 1 else (0,)
        size = spread_of(residual) if axes else residual.square().mean().sqrt().clamp_min(1e-6)
        tried = [size * factor for factor in torch.linspace(0.3, 4.0, 38).tolist()]
        errors = []
        for scale in tried:
            points = self.unit_points(self.unit_nearest(residual / scale)) * scale
            off = (residual - points).square()
            errors.append(off.mean(0) if axes else off.mean())
        best = torch.stack(errors).argmin(0, keepdim=True)
        self.scales.data[book] = torch.stack(tried).gather(0, best)[0]
