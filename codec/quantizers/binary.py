"""Binary latents: each bit is drawn in training with the probability that a sigmoid gives it."""

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN
from .base import QUANTIZERS, Quantized
from .draws import draws
from .lfq import SignGrid


@QUANTIZERS.register("binary")
class BinaryLatents(SignGrid):
    """Bernoulli bits, with the gradient of their probabilities.

    A dimension x is one with probability sigmoid(x); its expected sign is tanh(x / 2), which is
    what the gradient passes through. Encoding takes the likelier sign.

    Reference: Binary Latent Diffusion, https://arxiv.org/abs/2304.04820
    """

    steps: Tensor

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__(
            per_axis=True,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def bound(self, x: Tensor) -> Tensor:
        """Expected signs."""
        return (0.5 * x).tanh()

    def choose(self, residual: Tensor, book: int) -> Tensor:
        """Signs drawn with the probability of each bit; at +-1 they are sure."""
        random = draws(int(self.steps) * self.num_codebooks + book)
        uniform = torch.rand(residual.shape, generator=random)
        shifted = residual / self.scales[book] - (2 * uniform - 1).to(residual)
        return self.unit_nearest(shifted)

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]."""
        quantized = super().forward(latents, depth)
        if self.training and latents.numel():
            self.steps += 1
        return quantized
