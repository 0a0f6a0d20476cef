"""Smaller books from trained ones, without training and without audio: lower rates after the fact."""

import copy

import torch
from torch import Tensor

from ..errors import ConfigError
from .base import NOT_HEARD, Quantizer
from .codebook import Codebook
from .options import BookOptions, make_book
from .residual import ResidualVQ

SAMPLES = 8192  # at least so many, and sixteen for each new entry


@torch.no_grad()
def shrink(quantizer: Quantizer, codebook_size: int, generator: torch.Generator) -> Quantizer:
    """A quantizer of the same structure whose books are clusters of the entries of a trained one.

    The first book is k-means of entries drawn as often as they are used. What the old books would
    have coded of an input is what the new one leaves over of its entry, and an entry of the next
    old book: so that book's clusters fit a residual that has grown, which those of its own entries
    would not. The new books are plain ones, whatever the old ones learned by.

    Args:
        quantizer: With books of vectors; stays as it is.
        codebook_size: Entries of the new books, fewer than now.
        generator: Decides what is drawn.

    Raises:
        ConfigError: Nothing to shrink, or no smaller size.

    Reference: Extreme Image Compression using Fine-tuned VQGANs, https://arxiv.org/abs/2307.08265
    (clusters of one book; the residual ones are ours)
    """
    if not 2 <= codebook_size < quantizer.codebook_size:
        raise ConfigError(
            f"codebook_size={codebook_size}; expected 2 to {quantizer.codebook_size - 1} to shrink "
            "these books"
        )
    smaller = copy.deepcopy(quantizer)
    residual = [module for module in smaller.modules() if isinstance(module, ResidualVQ)]
    for part in smaller.modules():
        if not isinstance(part, Quantizer):
            continue
        part.codebook_size = codebook_size
        if not any(isinstance(child, ResidualVQ) for child in part.modules()):
            raise ConfigError(f"{type(part).__name__} has no books of vectors to shrink")
    for part in residual:
        pool: Tensor | None = None
        books = []
        for book in part.books:
            assert isinstance(book, Codebook)
            drawn = _draw(book, max(SAMPLES, 16 * codebook_size), generator)
            pool = drawn if pool is None else pool + drawn
            small = _plain(book, codebook_size)
            small.start(pool, generator)
            books.append(small)
            pool = pool - small.lookup(small.search(pool))
        part.set_books(books)
    return smaller


def _draw(book: Codebook, count: int, generator: torch.Generator) -> Tensor:
    """Entries [count, dim] of a trained book, each as often as it is used."""
    share = book.usage.cpu().clamp_min(1e-9)
    codes = torch.multinomial(share, count, replacement=True, generator=generator)
    return book.lookup(codes.to(book.usage.device))


def _plain(book: Codebook, size: int) -> Codebook:
    options = BookOptions(normalize=book.options.normalize, decay=book.options.decay)
    return make_book(options, size=size, dim=book.dim).to(book.usage).train(book.training)


@torch.no_grad()
def recode(codes: Tensor, trained: Quantizer, smaller: Quantizer) -> Tensor:
    """Codes of the trained quantizer as codes of a smaller one, without the audio.

    Args:
        codes: int64 [B, k, T], `NOT_HEARD` where a book is missing.
        trained: The quantizer they are of.
        smaller: From `shrink`.

    Returns:
        int64 [B, k, T], `NOT_HEARD` in the same places.
    """
    found = smaller.encode(trained.decode(codes))[:, : codes.shape[1]]
    return torch.where(codes >= 0, found, NOT_HEARD)
