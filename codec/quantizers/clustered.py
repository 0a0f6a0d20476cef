"""Smaller books from trained ones, without training: lower rates after the fact."""

import copy

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .base import Quantizer
from .codebook import Codebook
from .kmeans import kmeans
from .options import BookOptions, make_book


@torch.no_grad()
def shrink(
    quantizer: Quantizer, codebook_size: int, generator: torch.Generator
) -> tuple[Quantizer, list[Tensor]]:
    """A quantizer of the same structure whose books are clusters of the entries of a trained one.

    K-means of each book's entries, weighted by how much each is used. The new books are plain ones,
    whatever the old ones learned by. Encoding with them is better than `recode`, because every book
    sees what the smaller ones before it left over.

    Args:
        quantizer: With books of vectors everywhere; stays as it is.
        codebook_size: Entries of the new books, fewer than now.
        generator: Decides the k-means start.

    Returns:
        The smaller quantizer, and for each book, in the order of modules, which new code each old
        code falls to: int64 [old codebook_size].

    Raises:
        ConfigError: Nothing to shrink, or no smaller size.

    Reference: Extreme Image Compression using Fine-tuned VQGANs, https://arxiv.org/abs/2307.08265
    """
    if not 2 <= codebook_size < quantizer.codebook_size:
        raise ConfigError(
            f"codebook_size={codebook_size}; expected 2 to {quantizer.codebook_size - 1} to shrink "
            "these books"
        )
    smaller = copy.deepcopy(quantizer)
    found: list[Tensor] = []
    for module in list(smaller.modules()):
        if isinstance(module, Quantizer):
            module.codebook_size = codebook_size
        if not isinstance(module, nn.ModuleList):
            continue
        for index, book in enumerate(module):
            if isinstance(book, Codebook):
                module[index], falls = _shrunk(book, codebook_size, generator)
                found.append(falls)
    if not found:
        raise ConfigError(f"{type(quantizer).__name__} has no books of vectors to shrink")
    return smaller, found


def _shrunk(book: Codebook, size: int, generator: torch.Generator) -> tuple[Codebook, Tensor]:
    table = book.table().detach()
    weights = (book.usage / book.usage.sum()).clamp_min(1e-6) * len(table)
    centres, share = kmeans(table, size, generator=generator, weights=weights)
    options = BookOptions(normalize=book.options.normalize, decay=book.options.decay)
    small = make_book(options, size=size, dim=book.dim).to(table)
    small.train(book.training)
    small.place(centres, share)
    return small, small.search(table)


def recode(codes: Tensor, falls: list[Tensor]) -> Tensor:
    """Old codes [B, K, T] to those of the smaller books, without the latents.

    Args:
        codes: int64, `NOT_HEARD` where a book is missing, of a quantizer whose books are in the
            order of its modules, as in ``rvq``.
        falls: From `shrink`.

    Raises:
        ConfigError: Another number of books.
    """
    if codes.shape[1] > len(falls):
        raise ConfigError(f"codes of {codes.shape[1]} books, but {len(falls)} were shrunk")
    books = [
        torch.where(codes[:, k] >= 0, falls[k][codes[:, k].clamp_min(0)], codes[:, k])
        for k in range(codes.shape[1])
    ]
    return torch.stack(books, dim=1)
