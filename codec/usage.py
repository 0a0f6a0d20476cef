"""How well codebooks are used: share of entries and entropy, per book; needs no torch."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import CodesError, ShapeError


@dataclass(frozen=True)
class BookUse:
    """How one codebook was used.

    With fewer tokens than about ten times the codebook's entries both shares read low, so they
    only mean something next to `num_tokens`.

    Attributes:
        book: Index, 0 first.
        used_share: Share of the entries that occur at least once, 0 to 1.
        entropy_share: Entropy of the codes in bits / log2(codebook_size), 0 to 1.
        num_tokens: Codes counted.
    """

    book: int
    used_share: float
    entropy_share: float
    num_tokens: int


def count_codes(codes: npt.NDArray[np.int64], codebook_size: int) -> npt.NDArray[np.int64]:
    """Count how often each entry occurs; counts of several clips may be added.

    Args:
        codes: int64 [K, T] or [B, K, T], values in [0, codebook_size).
        codebook_size: Entries per book.

    Returns:
        counts: int64 [K, codebook_size].

    Raises:
        ShapeError: Other than two or three axes.
        CodesError: A code out of range.
    """
    if codes.ndim not in (2, 3):
        raise ShapeError(f"codes have shape {codes.shape}; expected [K, T] or [B, K, T]")
    if codes.size and not 0 <= codes.min() <= codes.max() < codebook_size:
        raise CodesError(
            f"codes run from {codes.min()} to {codes.max()}; expected 0 to {codebook_size - 1}"
        )
    books = np.moveaxis(codes, -2, 0).reshape(codes.shape[-2], -1)  # [B, K, T] -> [K, B * T]
    return np.stack([np.bincount(book, minlength=codebook_size) for book in books])


def codebook_use(counts: npt.NDArray[np.int64]) -> list[BookUse]:
    """Turn counts [K, codebook_size] into each book's use; nan for a book without codes."""
    size = counts.shape[1]
    uses = []
    for book, count in enumerate(counts):
        total = int(count.sum())
        shares = count[count > 0] / total if total else np.full(1, math.nan)
        entropy = float(-(shares * np.log2(shares)).sum()) + 0.0  # + 0.0: no -0
        used = float(np.count_nonzero(count)) / size if total else math.nan
        uses.append(BookUse(book, used, entropy / math.log2(size), total))
    return uses
