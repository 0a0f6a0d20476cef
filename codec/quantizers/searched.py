"""Quantizers whose books are residual and in one space, so that a beam can go through them."""

from abc import abstractmethod

import torch
from torch import Tensor

from .base import Quantizer
from .beam import search_books


class SearchedBooks(Quantizer):
    """Each book takes from what the books before it left over, in the space of `narrow`."""

    @abstractmethod
    def narrow(self, latents: Tensor) -> Tensor:
        """Latents [..., D] to where the books live: [..., d], in float32 or better."""

    @abstractmethod
    def tables(self) -> list[Tensor]:
        """The vectors [V, d] of every book, in the space where they live."""

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths of ``depth[b]`` books: int64 [B, K, T].

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        if beam_size == 1:
            return super().search(latents, depth, 1)
        with torch.autocast(latents.device.type, enabled=False):
            return search_books(self.narrow(latents), self.tables(), depth, beam_size)
