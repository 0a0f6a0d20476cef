"""Residual vector quantization: each book codes what the books before it left over."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import (
    QUANTIZERS,
    GradientEstimator,
    Quantized,
    Quantizer,
    mean,
    pass_gradient,
    sum_of_books,
    usable,
)
from .beam import beam_search
from .codebook import Codebook, Learning
from .projection import Projection


@QUANTIZERS.register("rvq")
class ResidualVQ(Quantizer):
    """K codebooks in a row, each on the residual of the ones before.

    The gradient estimator is applied once, to the sum of all books: the residuals are detached,
    so every book's commitment reaches the encoder and the encoder's gradient is not multiplied
    by the number of books.

    Reference: SoundStream, https://arxiv.org/abs/2107.03312
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            codebook_dim: Width of the space in which the books live, below a learned projection
                that all of them share; None for the latents' own.
            learning: How entries follow their inputs.
            gradient: How the encoder gets its gradient.
            decay: Of the moving averages.
            restart_threshold: Share of uniform use below which an entry is moved.
        """

        codebook_dim: Annotated[int, Field(gt=0)] | None = None
        learning: Learning = "ema"
        gradient: GradientEstimator = "rotation"
        decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
        restart_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        if config.codebook_dim is not None and config.codebook_dim > latent_dim:
            raise ConfigError(
                f"codebook_dim={config.codebook_dim} is wider than latent_dim={latent_dim}"
            )
        self.config = config
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        width = config.codebook_dim or latent_dim
        self.projection = Projection(latent_dim, width) if config.codebook_dim else None
        self.books = nn.ModuleList(
            Codebook(codebook_size, width, config.learning, config.decay)
            for _ in range(num_codebooks)
        )

    @property
    def _books(self) -> list[Codebook]:
        return [book for book in self.books if isinstance(book, Codebook)]

    def _down(self, latents: Tensor) -> Tensor:
        latents = at_least_float32(latents)
        return latents if self.projection is None else self.projection.down(latents)

    def _held_down(self, latents: Tensor) -> Tensor:
        """The same as `_down`, the projection held constant.

        Commitment must move the latents: it could also be had by shrinking the projection.
        """
        latents = at_least_float32(latents)
        if self.projection is None:
            return latents
        return F.linear(latents, self.projection.down.weight.detach())

    def _up(self, vectors: Tensor) -> Tensor:
        return vectors if self.projection is None else self.projection.up(vectors)

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; item b of the sum has its first ``depth[b]`` books."""
        codes, commitment, codebook = [], [], []
        with torch.autocast(latents.device.type, enabled=False):
            narrow = self._down(latents)
            residual, total = self._held_down(latents), torch.zeros_like(narrow)
            for k, book in enumerate(self._books):
                found = book.search(residual.detach())
                vectors = book.lookup(found)
                codes.append(found)
                kept = (k < depth).to(narrow)[:, None, None]
                commitment.append((kept * (residual - vectors.detach()).square()).mean())
                codebook.append(F.mse_loss(vectors, residual.detach()))
                if self.training:
                    book.observe(residual.detach().flatten(0, 1), found.flatten())
                total = total + kept * vectors
                residual = residual - vectors.detach()
            quantized = self._up(pass_gradient(narrow, total, self.config.gradient))
        learned = mean(codebook) if self.config.learning == "gradient" else narrow.new_zeros(())
        return Quantized(quantized, torch.stack(codes, 1), mean(commitment), learned)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T], greedily."""
        codes = []
        with torch.autocast(latents.device.type, enabled=False):
            residual = self._down(latents)
            for book in self._books:
                codes.append(book.search(residual))
                residual = residual - book.lookup(codes[-1])
        return torch.stack(codes, dim=1)

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths of ``depth[b]`` books: int64 [B, K, T].

        Raises:
            ConfigError: `beam_size` is not from 1 to `codebook_size`.
        """
        if not 1 <= beam_size <= self.codebook_size:
            raise ConfigError(f"beam_size={beam_size}; expected 1 to {self.codebook_size}")
        if beam_size == 1:
            return super().search(latents, depth, 1)
        B, T = latents.shape[:2]
        each = depth[:, None].expand(B, T).reshape(B * T)
        entries = [book.entries for book in self._books]
        with torch.autocast(latents.device.type, enabled=False):
            vectors = self._down(latents).flatten(0, 1)
            codes = beam_search(vectors, entries, each, beam_size)
        return codes.reshape(B, T, -1).transpose(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the vectors of the books heard: codes [B, k, T], k <= K, to [B, T, D]."""
        # One table for all books, each led by a row of zeros for "not heard": one lookup in all.
        rows = [F.pad(book.entries, (0, 0, 1, 0)) for book in self._books]
        K, stride = codes.shape[1], self.codebook_size + 1
        offset = stride * torch.arange(K, device=codes.device) + 1
        with torch.autocast(codes.device.type, enabled=False):
            vectors = F.embedding(codes + offset[:, None], torch.cat(rows))
            return self._up(sum_of_books(vectors))

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start the projection, then each book by k-means on the residual, on latents [N, D].

        Raises:
            CodecError: No latents, or some are not finite.
        """
        latents = usable(latents)
        with torch.autocast(latents.device.type, enabled=False):
            if self.projection is not None:
                self.projection.start(latents)
            residual = self._down(latents)
            for book in self._books:
                book.start(residual, generator)
                residual = residual - book.lookup(book.search(residual))

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart in every book; returns how many entries moved in all."""
        return sum(
            book.restart_unused(self.config.restart_threshold, generator) for book in self._books
        )
