"""Lookup-free quantization: a code is the signs of a few dimensions; with BSQ, on the sphere."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN
from ..errors import ConfigError
from .base import QUANTIZERS
from .scaled import ScaledGrid


class SignGrid(ScaledGrid):
    """The corners of a cube: bit d of a code, highest first, is the sign of dimension d."""

    strides: Tensor

    def __init__(
        self, *, per_axis: bool, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        bits = (codebook_size - 1).bit_length()
        if codebook_size != 1 << bits:
            raise ConfigError(f"codebook_size={codebook_size} is not a power of two")
        if bits > latent_dim:
            raise ConfigError(
                f"codebook_size={codebook_size} needs {bits} dimensions, more than "
                f"latent_dim={latent_dim}"
            )
        finer = 0.5 ** torch.arange(num_codebooks)[:, None]
        super().__init__(
            finer.repeat(1, bits) if per_axis else finer,
            width=bits,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        strides = 2 ** torch.arange(bits - 1, -1, -1)
        self.register_buffer("strides", strides, persistent=False)

    def unit_nearest(self, x: Tensor) -> Tensor:
        """The signs of `x` [..., bits] as a number."""
        return ((x > 0) * self.strides).sum(-1)

    def unit_points(self, codes: Tensor) -> Tensor:
        """Corners [..., bits] of +1 and -1."""
        bits = codes[..., None].div(self.strides, rounding_mode="floor").remainder(2)
        return 2.0 * bits.to(self.scales.dtype) - 1.0

    def fit(self, residual: Tensor, book: int) -> None:
        """The mean distance from zero, which is the best scale for signs."""
        size = residual.abs().mean(0)
        whole = size if self.scales.shape[1] > 1 else size.mean()
        self.scales.data[book] = whole.clamp_min(1e-6)


def sign_entropy(x: Tensor, size: Tensor, temperature: float) -> Tensor:
    """Low for sure signs of each input and even use of all corners: H(code | x) - H(code).

    Bits are taken as independent, which makes the sum over all corners one over bits; the entropy
    of the codes is then an upper bound.

    Args:
        x: Inputs [..., bits].
        size: What counts as far from zero, broadcast over `x`.
        temperature: In units of `size`.

    Returns:
        Scalar, in bits per bit; 0 for no inputs.

    Reference: Binary Spherical Quantization, https://arxiv.org/abs/2406.07548
    """
    inputs = x.flatten(0, -2)
    if not len(inputs):
        return x.new_zeros(())
    logits = 2 * inputs / (size * temperature)
    share = logits.sigmoid()
    each = F.binary_cross_entropy_with_logits(logits, share, reduction="mean")
    mean = share.mean(0).clamp(1e-6, 1 - 1e-6)
    together = -(mean * mean.log() + (1 - mean) * (1 - mean).log()).mean()
    return (each - together) / math.log(2)


@QUANTIZERS.register("lfq")
class LFQ(SignGrid):
    """Signs of unbounded dimensions, at a learned scale for each, with an entropy term.

    Reference: MAGVIT-v2, https://arxiv.org/abs/2310.05737
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            entropy: Weight of the entropy term.
            temperature: Of its soft signs, in units of the scale of the first book.
        """

        entropy: Annotated[float, Field(ge=0)] = 0.1
        temperature: Annotated[float, Field(gt=0)] = 0.5

    per_axis = True

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__(
            per_axis=self.per_axis,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.config = config

    def bound(self, x: Tensor) -> Tensor:
        """Nothing."""
        return x

    def auxiliary(self, bounded: Tensor) -> Tensor | None:
        """The entropy term."""
        if not self.config.entropy:
            return None
        size = self.scales[0].detach().abs()
        return self.config.entropy * sign_entropy(bounded, size, self.config.temperature)


@QUANTIZERS.register("bsq")
class BSQ(LFQ):
    """Signs of a point on the unit sphere; the corners of a first book lie on the sphere too.

    Reference: Binary Spherical Quantization, https://arxiv.org/abs/2406.07548
    """

    per_axis = False

    def __init__(
        self, config: LFQ.Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__(
            config,
            latent_dim=latent_dim,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.scales.data.mul_(self.projection.up.in_features**-0.5)

    def bound(self, x: Tensor) -> Tensor:
        """Onto the sphere."""
        return F.normalize(x, dim=-1)
