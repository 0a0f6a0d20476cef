"""Latent quantization: a small book of learned scalars for each dimension."""

import math

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN
from ..errors import ConfigError
from .base import QUANTIZERS
from .fsq import Levels, default_levels
from .grid import GridQuantizer


@QUANTIZERS.register("latent")
class LatentQuantization(GridQuantizer):
    """Each dimension takes the nearest of its own learned values.

    The paper adds strong weight decay on the encoder and decoder, which is the trainer's to set.

    Reference: Disentanglement via Latent Quantization, https://arxiv.org/abs/2305.18378
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            levels: Values of each dimension; their product is `codebook_size`. None for fours,
                and an eight where they do not come out even.
        """

        levels: Levels | None = None

    strides: Tensor

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        levels = config.levels or default_levels(codebook_size)
        if math.prod(levels) != codebook_size or len(levels) > latent_dim:
            raise ConfigError(
                f"levels={levels} make {math.prod(levels)} codes in {len(levels)} dimensions; "
                f"expected codebook_size={codebook_size}, at most latent_dim={latent_dim}"
            )
        super().__init__(
            width=len(levels),
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.levels = levels
        finer = 0.5 ** torch.arange(num_codebooks)
        self.values = nn.ParameterList(
            nn.Parameter(finer[:, None] * torch.linspace(-0.5, 0.5, n)) for n in levels
        )  # per dimension [K, levels]
        strides = [math.prod(levels[d + 1 :]) for d in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def bound(self, x: Tensor) -> Tensor:
        """Nothing."""
        return x

    def nearest(self, x: Tensor, book: int) -> Tensor:
        """Code of the nearest value in each dimension of `x` [..., d]."""
        found = [
            (x[..., d, None] - values[book]).abs().argmin(-1)
            for d, values in enumerate(self.values)
        ]
        return (torch.stack(found, dim=-1) * self.strides).sum(-1)

    def points(self, codes: Tensor, book: int) -> Tensor:
        """The values [..., d] that codes stand for."""
        found = []
        for d, values in enumerate(self.values):
            place = codes.div(self.strides[d], rounding_mode="floor").remainder(self.levels[d])
            found.append(nn.functional.embedding(place, values[book][:, None])[..., 0])
        return torch.stack(found, dim=-1)

    def fit(self, residual: Tensor, book: int) -> None:
        """Values by Lloyd's algorithm from the quantiles of each dimension."""
        for d, values in enumerate(self.values):
            x = residual[:, d].contiguous()
            n = values.shape[1]
            centres = x.quantile((torch.arange(n, device=x.device).to(x) + 0.5) / n)
            for _ in range(20):
                place = (x[:, None] - centres).abs().argmin(-1)
                count = torch.bincount(place, minlength=n)
                sums = torch.zeros_like(centres).index_add_(0, place, x)
                centres = torch.where(count > 0, sums / count.clamp_min(1), centres)
            values.data[book] = centres
