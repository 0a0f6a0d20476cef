"""Factorised codes: latents are projected down to where the codebooks live, and up again."""

import torch
from torch import Tensor, nn

from .kmeans import principal_directions


class Projection(nn.Module):
    """A linear map to `width` dimensions and one back, both learned.

    They start as the principal directions of the latents, so that at first nothing is lost but
    what the fewest dimensions hold.

    Reference: Improved VQGAN, https://arxiv.org/abs/2110.04627
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, width, bias=False)
        self.up = nn.Linear(width, dim, bias=False)
        nn.init.orthogonal_(self.down.weight)
        self._tie()

    @torch.no_grad()
    def start(self, latents: Tensor) -> None:
        """Turn to the principal directions of latents [N, D]."""
        self.down.weight.copy_(principal_directions(latents, self.down.out_features))
        self._tie()

    @torch.no_grad()
    def fit_up(self, narrow: Tensor, latents: Tensor) -> None:
        """Take the best way back, in the mean square, from `narrow` [N, width] to latents [N, D]."""
        floor = 1e-6 * len(latents) * torch.eye(narrow.shape[1]).to(narrow)
        energy = narrow.T @ narrow + floor
        self.up.weight.copy_(torch.linalg.solve(energy, narrow.T @ latents).T)

    @torch.no_grad()
    def _tie(self) -> None:
        self.up.weight.copy_(self.down.weight.T)
