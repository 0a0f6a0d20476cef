"""Entries that follow their inputs by moving averages."""

from typing import TYPE_CHECKING

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN
from .codebook import LEARNING, Codebook

if TYPE_CHECKING:
    from .options import BookOptions


@LEARNING.register("ema")
class AveragedBook(Codebook):
    """Entries follow a moving average of the inputs assigned to them.

    Reference: VQ-VAE-2, https://arxiv.org/abs/1906.00446
    """

    sums: Tensor

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, size: int, dim: int, shared: "BookOptions") -> None:
        super().__init__(size=size, dim=dim, shared=shared)
        entries = torch.randn(size, dim) * dim**-0.5
        self._fill(entries, learned=False)
        self.register_buffer("sums", entries.clone() / size)  # usage times mean input

    def _learn(self, sums: Tensor) -> None:
        self.sums.lerp_(sums, 1 - self.options.decay)
        # Entries without usage keep their place until they are restarted.
        alive = self.usage > 1e-3 / self.size
        means = self.sums / self.usage.clamp_min(1e-12)[:, None]
        self.entries.copy_(torch.where(alive[:, None], means, self.entries))

    def _place(self, codes: Tensor, entries: Tensor, share: Tensor) -> None:
        super()._place(codes, entries, share)
        self.sums[codes] = entries * share[:, None]
