"""Residual vector quantization: each book codes what the books before it left over."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN
from ..errors import ConfigError
from ..layers import at_least_float32
from .assignment import nearest
from .base import (
    QUANTIZERS,
    GradientEstimator,
    Quantized,
    check_sizes,
    pass_gradient,
    sum_of_books,
    usable,
)
from .codebook import Codebook, Step
from .gather import gather
from .options import BookOptions, make_book
from .projection import Projection
from .searched import SearchedBooks


@QUANTIZERS.register("rvq")
class ResidualVQ(SearchedBooks):
    """K codebooks in a row, each on the residual of the ones before.

    The gradient estimator is applied once, to the sum of all books: the residuals are detached,
    so every book's commitment reaches the encoder and the encoder's gradient is not multiplied
    by the number of books.

    Reference: SoundStream, https://arxiv.org/abs/2107.03312
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(BookOptions):
        """Options, with those of `BookOptions`.

        Attributes:
            codebook_dim: Width of the space in which the books live, below a learned projection
                that all of them share; None for the latents' own.
        """

        codebook_dim: Annotated[int, Field(gt=0)] | None = None

    offset: Tensor

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        check_sizes(num_codebooks, codebook_size)
        if config.codebook_dim is not None and config.codebook_dim > latent_dim:
            raise ConfigError(
                f"codebook_dim={config.codebook_dim} is wider than latent_dim={latent_dim}"
            )
        if config.normalize and num_codebooks > 1:
            raise ConfigError(
                f"normalize is for one book, not num_codebooks={num_codebooks}; put single books "
                "in a 'cascade'"
            )
        self.config = config
        width = config.codebook_dim or latent_dim
        self.projection = Projection(latent_dim, width) if config.codebook_dim else None
        self.set_books(
            [make_book(config, size=codebook_size, dim=width) for _ in range(num_codebooks)]
        )

    def set_books(self, books: Sequence[Codebook]) -> None:
        """Have these books, which are all of one size, in place of those before."""
        self.num_codebooks, self.codebook_size = len(books), books[0].size
        self.books = nn.ModuleList(books)
        # Where each book's vectors begin in a table of all of them, each led by a row of zeros.
        offset = (self.codebook_size + 1) * torch.arange(len(books)) + 1
        self.register_buffer("offset", offset[:, None].to(books[0].usage.device), persistent=False)

    @property
    def _books(self) -> list[Codebook]:
        return [book for book in self.books if isinstance(book, Codebook)]

    def narrow(self, latents: Tensor, *, held: bool = False) -> Tensor:
        """Latents [B, T, D] to where the books live, with the projection held constant if `held`.

        Commitment must move the latents: it could also be had by shrinking the projection.
        """
        x = at_least_float32(latents)
        if self.projection is not None:
            weight = self.projection.down.weight
            x = F.linear(x, weight.detach() if held else weight)
        return F.normalize(x, dim=-1) if self.config.normalize else x

    def _up(self, vectors: Tensor) -> Tensor:
        return vectors if self.projection is None else self.projection.up(vectors)

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; item b of the sum has its first ``depth[b]`` books."""
        steps, commitment = [], []
        with torch.autocast(latents.device.type, enabled=False):
            narrow = residual = self.narrow(latents)
            held, total = self.narrow(latents, held=True), torch.zeros_like(narrow)
            for k, book in enumerate(self._books):
                step: Step = book(residual)
                taken = step.vectors.detach()
                kept = (k < depth).to(narrow)[:, None, None]
                commitment.append((kept * (held - taken).square()).mean())
                steps.append(step)
                total = total + kept * step.vectors
                residual, held = residual - taken, held - taken
            quantized = self._up(pass_gradient(narrow, self._synchronised(total), self._how))
        return gather(quantized, torch.stack([s.codes for s in steps], 1), commitment, steps)

    @property
    def _how(self) -> GradientEstimator:
        """The estimator; outside of training no assignment is differentiable."""
        how = self.config.gradient
        return "straight_through" if how == "assignment" and not self.training else how

    def _synchronised(self, total: Tensor) -> Tensor:
        """The same sum, whose gradient to the entries is as large as was asked for."""
        if self.config.synchronise == 1 or self.config.gradient == "assignment":
            return total
        return total.detach() + self.config.synchronise * (total - total.detach())

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T], greedily."""
        codes = []
        with torch.autocast(latents.device.type, enabled=False):
            residual = self.narrow(latents)
            for table in self.tables():
                codes.append(nearest(residual, table))
                residual = residual - F.embedding(codes[-1], table)
        # As `torch.stack(codes, dim=1)`, with fewer nodes in a graph.
        return torch.cat(codes, dim=1).reshape(latents.shape[0], self.num_codebooks, -1)

    def tables(self) -> list[Tensor]:
        """The vectors [V, d] of every book, in the space where they live."""
        return [book.table() for book in self._books]

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the vectors of the books heard: codes [B, k, T], k <= K, to [B, T, D]."""
        # One table for all books, each led by a row of zeros for "not heard": one lookup in all.
        offset = self.offset[: codes.shape[1]]
        with torch.autocast(codes.device.type, enabled=False):
            rows = [F.pad(table, (0, 0, 1, 0)) for table in self.tables()]
            vectors = F.embedding(codes + offset, torch.cat(rows))
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
            residual = narrow = self.narrow(latents)
            for book in self._books:
                book.start(residual, generator)
                residual = residual - book.lookup(book.search(residual))
            if self.projection is not None and self.config.normalize:
                self.projection.fit_up(narrow - residual, latents)  # the sphere knows no lengths

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart in every book; returns how many entries moved in all."""
        return sum(book.restart_unused(generator) for book in self._books)
