"""What the runtime takes and gives, and the checks on it; numpy only."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sotto.codec.errors import AudioError, CodesError, ShapeError
from sotto.codec.info import ModelInfo

Audio = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]
State = dict[str, npt.NDArray[np.float32]]

NOT_HEARD = -1
BLOCK_FRAMES = 100  # frames per call when a whole signal is coded: fast, and bounded in memory


def all_books(codes: npt.NDArray[Any], info: ModelInfo) -> Codes:
    """Codes [B, k, n] with the books that are missing as -1: int64 [B, K, n].

    Raises:
        ShapeError: Not three axes, no frames, or more than K books.
        CodesError: A code is no integer or out of range, or a book is heard without those before
            it.
    """
    K, size = info.num_codebooks, info.codebook_size
    if codes.ndim != 3 or not 1 <= codes.shape[1] <= K or not codes.size:
        raise ShapeError(
            f"codes have shape {codes.shape}; expected [B, k, T] with k from 1 to {K} and "
            "at least one frame"
        )
    if codes.dtype.kind not in "iu":
        raise CodesError(f"codes are {codes.dtype}; expected integers")
    lowest, highest = codes.min(), codes.max()
    if lowest < NOT_HEARD or highest >= size:
        raise CodesError(
            f"codes run from {lowest} to {highest}; expected 0 to {size - 1}, "
            f"or {NOT_HEARD} for a book that was not heard"
        )
    if lowest < 0:
        heard = codes >= 0
        if (heard[:, 1:] & ~heard[:, :-1]).any():
            raise CodesError("a book is heard without the ones before it; books are a prefix")
    if codes.shape[1] == K:
        return codes.astype(np.int64, copy=False)
    books = np.full((len(codes), K, codes.shape[2]), NOT_HEARD, np.int64)
    books[:, : codes.shape[1]] = codes
    return books


def books_per_stream(
    num_codebooks: int | Sequence[int] | None, batch: int, info: ModelInfo
) -> Codes:
    """How many books each of `batch` streams keeps: int64 [B]; all books for None.

    Raises:
        CodesError: The model has no such number of books, or there is not one per stream.
    """
    if num_codebooks is None or isinstance(num_codebooks, int):
        return np.full(batch, info.choose_num_codebooks(num_codebooks), np.int64)
    if len(num_codebooks) != batch:
        raise CodesError(f"num_codebooks has {len(num_codebooks)} numbers for {batch} streams")
    return np.array([info.choose_num_codebooks(int(k)) for k in num_codebooks], np.int64)


def as_float32(audio: npt.NDArray[Any]) -> Audio:
    """Floating-point audio as float32.

    Raises:
        AudioError: Integers: their full scale is not 1.
    """
    if audio.dtype.kind != "f":
        raise AudioError(
            f"audio is {audio.dtype}; expected float32 in [-1, 1] (divide int16 by 32768)"
        )
    return audio.astype(np.float32, copy=False)


def blocks(signal: npt.NDArray[Any], frame_size: int) -> Iterator[npt.NDArray[Any]]:
    """Pieces of `BLOCK_FRAMES` frames along the last axis."""
    step = BLOCK_FRAMES * frame_size
    for start in range(0, signal.shape[-1], step):
        yield signal[..., start : start + step]
