"""Beam search through residual books: a better code path for the same books, at no training cost.

Reference: Improving Test-Time Performance of RVQ-based Neural Codecs,
https://arxiv.org/abs/2509.19186
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from .base import NOT_HEARD


@dataclass(frozen=True)
class _Stage:
    """What one book leaves: W paths per input, the greedy one first.

    Attributes:
        codes: int64 [N, W], of this book.
        parents: int64 [N, W], which path of the book before each one goes on from.
        best: int64 [N, 1], the path of least error up to here.
    """

    codes: Tensor
    parents: Tensor
    best: Tensor


def beam_search(vectors: Tensor, books: Sequence[Tensor], depth: Tensor, width: int) -> Tensor:
    """Codes of a path with small error, never larger than that of greedy search.

    After every book the `width` best of all continuations are kept, and the greedy path always is
    one of them. The best path of `depth` books is not the start of the best path of more, so the
    depth that will be heard decides which one is given. Of equally good ones, it is the one with
    the lower path, then the lower code.

    Args:
        vectors: [N, D].
        books: Entries [V, D] of each book, in order; `width` <= V.
        depth: int64 [N], how many books will be heard.
        width: Paths kept, 2 or more.

    Returns:
        int64 [N, K], `NOT_HEARD` from `depth` on.
    """
    return _trace(_grow(vectors, books, width), depth[:, None])


def beam_search_each(vectors: Tensor, books: Sequence[Tensor], width: int) -> list[Tensor]:
    """`beam_search` of vectors [N, D] for 1, 2, ... K books at the cost of one: K times [N, K]."""
    stages = _grow(vectors, books, width)
    row = torch.zeros(vectors.shape[0], 1, dtype=torch.int64, device=vectors.device)
    return [_trace(stages, row + 1 + k) for k in range(len(books))]


def _grow(vectors: Tensor, books: Sequence[Tensor], width: int) -> list[_Stage]:
    """The paths of vectors [N, D] through all books."""
    W, N = width, vectors.shape[0]  # not len(): the exporter takes that for a constant
    row = torch.arange(N, device=vectors.device)[:, None]
    residual, stages = vectors, []
    gain = vectors.new_zeros(N, 1)  # half the energy taken so far, per path
    for entries in books:
        # |r - v|^2 = |r|^2 - 2 (r·v - |v|^2 / 2): all paths of all inputs in one product.
        scores = residual @ entries.T - 0.5 * entries.square().sum(-1)
        paths = gain.shape[1]
        found, codes = _top(scores, W)  # no more than W continuations of one path can be kept
        gain, chosen = _keep((found.reshape(N, paths, W) + gain[:, :, None]).flatten(1), W)
        parents = chosen // W
        codes = codes.reshape(N, paths * W).gather(1, chosen)
        stages.append(_Stage(codes, parents, gain.argmax(1, keepdim=True)))
        before = residual.index_select(0, (row * paths + parents).flatten())
        residual = before - F.embedding(codes.flatten(), entries)
    return stages


def search_books(vectors: Tensor, books: Sequence[Tensor], depth: Tensor, width: int) -> Tensor:
    """`beam_search` for vectors [B, T, D] and depths [B]: codes int64 [B, K, T].

    Raises:
        ConfigError: `width` is not from 1 to the number of entries.
    """
    size = books[0].shape[0]
    if not 1 <= width <= size:
        raise ConfigError(f"beam_size={width}; expected 1 to {size}")
    B, T = vectors.shape[:2]
    each = depth[:, None].expand(B, T).reshape(B * T)
    codes = beam_search(vectors.flatten(0, 1), books, each, width)
    return codes.reshape(B, T, -1).transpose(1, 2)


def _keep(gains: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The first of `gains` [N, M], which continues the greedy path, and the best of the others."""
    others, places = _top(gains[:, 1:], width - 1)
    first = torch.zeros_like(places[:, :1])
    return torch.cat([gains[:, :1], others], 1), torch.cat([first, places + 1], 1)


def _top(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of the last axis and where they are, equal ones in order of place."""
    if torch.compiler.is_exporting():  # ONNX promises that order
        return torch.topk(x, count, dim=-1)
    values, places = torch.sort(x, dim=-1, descending=True, stable=True)
    return values[..., :count], places[..., :count]


def _trace(stages: Sequence[_Stage], depth: Tensor) -> Tensor:
    """Follow the best path of `depth` [N, 1] books back from its end."""
    path, codes = torch.zeros_like(depth), []
    for k in reversed(range(len(stages))):
        path = torch.where(depth == k + 1, stages[k].best, path)
        codes.append(torch.where(depth > k, stages[k].codes.gather(1, path), NOT_HEARD))
        path = stages[k].parents.gather(1, path)
    return torch.cat(codes[::-1], dim=1)
