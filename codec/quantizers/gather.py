"""Puts together what the books or the quantizers inside a quantizer give in training."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .base import Quantized


class Part(Protocol):
    """What a book or an inner quantizer gives, as far as its own losses go."""

    @property
    def codebook(self) -> Tensor:
        """Scalar that pulls the book to its inputs."""

    @property
    def auxiliary(self) -> Tensor | None:
        """Scalar, weighted: what a method adds of its own; or None."""


def gather(
    latents: Tensor, codes: Tensor, commitment: Iterable[Tensor], parts: Sequence[Part]
) -> Quantized:
    """The whole of several parts: every loss is the mean of theirs.

    Args:
        latents: Quantized, [B, T, D].
        codes: int64 [B, K, T].
        commitment: Scalars, one of each part.
        parts: What they gave.
    """
    auxiliary = [part.auxiliary for part in parts if part.auxiliary is not None]
    return Quantized(
        latents,
        codes,
        mean(commitment),
        mean(part.codebook for part in parts),
        mean(auxiliary) if auxiliary else None,
    )


def mean(values: Iterable[Tensor]) -> Tensor:
    """Mean of scalars."""
    return torch.stack(list(values)).mean()
