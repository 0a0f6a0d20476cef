"""What every quantizer offers, and the registry that creates one by name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import CodecError, ConfigError
from ..layers import at_least_float32
from ..registry import Registry

NOT_HEARD = -1  # in codes: this book was not sent for this frame
GradientEstimator = Literal["straight_through", "rotation", "assignment"]


@dataclass(frozen=True)
class Quantized:
    """What comes out of a quantizer in training.

    Attributes:
        latents: Quantized latents [B, T, D], with gradients to the input by the chosen estimator.
        codes: int64 [B, K, T], every book, whatever the depth.
        commitment: Scalar; pulls the encoder towards the codebooks.
        codebook: Scalar; pulls the codebooks towards the encoder; zero where they learn by
            moving averages.
        auxiliary: Scalar, weighted: what a method adds of its own, such as an entropy; or None.
    """

    latents: Tensor
    codes: Tensor
    commitment: Tensor
    codebook: Tensor
    auxiliary: Tensor | None = None


class Quantizer(nn.Module, ABC):
    """Latents to codes and back. Every quantizer computes in float32 or better.

    The books are ordered by importance: any prefix of them decodes, and a frame tells how many it
    has by `NOT_HEARD` in the others.
    """

    num_codebooks: int
    codebook_size: int

    @abstractmethod
    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize for training.

        Args:
            latents: [B, T, D].
            depth: int64 [B], how many books the decoder will hear of each item, 0 to K.
        """

    @abstractmethod
    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Codes for a given number of books, by beam search through residual stages.

        Never worse than the first `depth` books of `encode`, in the space where the books live.

        Args:
            latents: [B, T, D].
            depth: int64 [B], how many books will be heard of each item, 0 to K.
            beam_size: Code paths kept after each book; 1 is greedy search.

        Returns:
            int64 [B, K, T], `NOT_HEARD` from `depth` on.

        Raises:
            ConfigError: A beam on a quantizer without residual stages, or an impossible size.
        """
        if beam_size != 1:
            raise ConfigError(
                f"beam_size={beam_size}, but {type(self).__name__} has no residual stages to "
                "search; use beam_size=1"
            )
        return only_heard(self.encode(latents), depth)

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, K, T], `NOT_HEARD` where a book is missing, to latents [B, T, D]."""

    @abstractmethod
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Place all codebooks by k-means on sample latents [N, D]."""

    @abstractmethod
    def restart_unused(self, generator: torch.Generator) -> int:
        """Move entries that are hardly used to recent inputs; returns how many were moved."""


QUANTIZERS: Registry[Quantizer] = Registry("quantizer")


def check_sizes(num_codebooks: int, codebook_size: int) -> None:
    """Raise ConfigError for fewer than one book, or books that could hold no information."""
    if num_codebooks < 1 or codebook_size < 2:
        raise ConfigError(
            f"num_codebooks={num_codebooks} of codebook_size={codebook_size}; expected at least "
            "1 book of 2 entries"
        )


def pass_gradient(latents: Tensor, quantized: Tensor, how: GradientEstimator) -> Tensor:
    """The value of `quantized`, differentiable with respect to `latents`.

    ``straight_through`` copies the gradient (https://arxiv.org/abs/1308.3432); ``rotation`` sends
    it back through the rotation and scaling that carries each latent onto its quantized value,
    both held constant (https://arxiv.org/abs/2410.06424); ``assignment`` adds nothing, because the
    way from `latents` to `quantized` is differentiable itself. What `quantized` itself depends on
    gets its gradient in any case.

    Args:
        latents: [..., D].
        quantized: [..., D].
        how: The estimator.
    """
    if how == "assignment":
        return quantized
    if how == "straight_through":
        moved = latents - latents.detach()
    else:
        rotated = _rotate(latents, quantized.detach())
        moved = rotated - rotated.detach()
    return quantized + moved


def _rotate(latents: Tensor, target: Tensor) -> Tensor:
    """Rotate and scale `latents` onto `target`, both factors constant (Householder form)."""
    source = latents.detach()
    length = source.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    target_length = target.norm(dim=-1, keepdim=True)
    a, b = source / length, target / target_length.clamp_min(1e-6)
    middle = nn.functional.normalize(a + b, dim=-1)
    along_middle = (latents * middle).sum(-1, keepdim=True) * middle
    along_source = (latents * a).sum(-1, keepdim=True) * b
    rotated: Tensor = (latents - 2 * along_middle + 2 * along_source) * (target_length / length)
    return rotated


def sum_of_books(vectors: Tensor) -> Tensor:
    """Sum over the books of [B, K, T, D], one after the other; zeros for no books.

    A kernel orders the terms of a sum by the shape of its input, so a stream would depend on
    which others share its batch.
    """
    if not vectors.shape[1]:
        return vectors.sum(dim=1)
    return reduce(torch.add, torch.split(vectors, [1] * vectors.shape[1], dim=1)).squeeze(1)


def usable(latents: Tensor) -> Tensor:
    """Sample latents [N, D] to start from, in float32 or better.

    Raises:
        CodecError: No latents, or some are not finite.
    """
    if not len(latents) or not latents.isfinite().all():
        raise CodecError(
            f"codebooks cannot start from {len(latents)} latents that are "
            f"{'not finite: the encoder has diverged' if len(latents) else 'not there'}"
        )
    return at_least_float32(latents)


def heard(codes: Tensor) -> Tensor:
    """How many books each frame has: int64 [B, T] from codes [B, K, T]."""
    return (codes >= 0).sum(dim=1)


def only_heard(codes: Tensor, depth: Tensor) -> Tensor:
    """Codes [B, K, T] with `NOT_HEARD` from book ``depth[b]`` on."""
    kept = torch.arange(codes.shape[1], device=codes.device) < depth[:, None]
    return torch.where(kept[:, :, None], codes, NOT_HEARD)


def with_all_books(codes: Tensor, num_codebooks: int) -> Tensor:
    """Codes [B, k, T], k <= K, as [B, K, T]: `NOT_HEARD` in the books that are missing."""
    return nn.functional.pad(codes, (0, 0, 0, num_codebooks - codes.shape[1]), value=NOT_HEARD)
