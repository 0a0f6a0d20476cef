"""Multi-scale quantization: coarse books hold for several steps of time, fine ones for each."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..config import FROZEN, ComponentConfig, Part, Positive
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import (
    QUANTIZERS,
    GradientEstimator,
    Quantized,
    Quantizer,
    pass_gradient,
    usable,
    with_all_books,
)
from .gather import gather


@QUANTIZERS.register("multi-scale")
class MultiScaleVQ(Quantizer):
    """A frame holds `steps` steps of time; each scale codes the mean of `stride` of them.

    The latents of a frame are its steps one after the other, each latent_dim / steps wide. A scale
    of stride s has steps / s codes in a frame, all from one book, on what coarser scales left over;
    so a frame of steps 4 and strides 4, 2, 1 has 1 + 2 + 4 = 7 codes. A frame is whole, so that
    nothing waits for a later one: the delay of the coarse scale is that of the frame.

    Reference: SNAC, https://arxiv.org/abs/2410.14411
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            steps: Steps of time in a frame; must divide `latent_dim`.
            strides: Steps that a code of each scale holds for, coarse to fine; each divides
                `steps`, and steps / strides add up to `num_codebooks`.
            inner: Quantizer of one scale's book.
            gradient: How the encoder gets its gradient.
        """

        steps: Positive = 4
        strides: Annotated[tuple[Positive, ...], Field(min_length=1)] = (4, 2, 1)
        inner: Part = ComponentConfig("rvq")
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        super().__init__()
        S = config.steps
        places = [S // stride for stride in config.strides]
        uneven = [stride for stride in config.strides if S % stride]
        if latent_dim % S or uneven or sum(places) != num_codebooks:
            raise ConfigError(
                f"steps={S} and strides={config.strides} make {sum(places)} codes of widths "
                f"{latent_dim / S:g}; expected num_codebooks={num_codebooks}, strides that divide "
                f"steps, and steps that divide latent_dim={latent_dim}"
            )
        self.config, self.places = config, places
        self.num_codebooks = num_codebooks
        self.codebook_size = codebook_size
        inner = config.inner
        sizes = {"latent_dim": latent_dim // S, "num_codebooks": 1, "codebook_size": codebook_size}
        self.scales = nn.ModuleList(
            QUANTIZERS.create(inner.name, inner.options, **sizes) for _ in places
        )

    @property
    def _scales(self) -> list[Quantizer]:
        return [scale for scale in self.scales if isinstance(scale, Quantizer)]

    def _pool(self, latents: Tensor, places: int) -> Tensor:
        """Frames [B, T, D] to the means that a scale codes: [B * places, T, d]."""
        B, T, D = latents.shape
        steps = self.config.steps
        means = latents.reshape(B, T, places, steps // places, D // steps).mean(3)
        return means.permute(0, 2, 1, 3).flatten(0, 1)

    def _spread(self, vectors: Tensor, places: int) -> Tensor:
        """Vectors [B * places, T, d] to frames [B, T, D], each held for its steps."""
        T, width = vectors.shape[1:]
        B, steps = vectors.shape[0] // places, self.config.steps
        held = vectors.reshape(B, places, T, width).permute(0, 2, 1, 3)[:, :, :, None]
        held = held.expand(B, T, places, steps // places, width)
        return held.reshape(B, T, steps * width)

    @staticmethod
    def _by_frame(codes: Tensor, places: int) -> Tensor:
        """Codes of one scale [B * places, 1, T] to [B, places, T]."""
        return codes.reshape(codes.shape[0] // places, places, codes.shape[2])

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; coarse codes are heard first, then by time."""
        codes, parts, commitment = [], [], []
        with torch.autocast(latents.device.type, enabled=False):
            x = at_least_float32(latents)
            residual, total, before = x, torch.zeros_like(x), 0
            for scale, places in zip(self._scales, self.places, strict=True):
                order = before + torch.arange(places, device=depth.device)
                some = (depth[:, None] > order).long().flatten()
                pooled = self._pool(residual, places)
                out: Quantized = scale(pooled.detach(), some)
                codes.append(self._by_frame(out.codes, places))
                taken = scale.decode(out.codes).detach()
                kept = some.to(x)[:, None, None]
                commitment.append((kept * (pooled - taken).square()).mean())
                parts.append(out)
                total = total + self._spread(out.latents, places)
                residual = residual - self._spread(taken, places)
                before += places
            quantized = pass_gradient(x, total, self.config.gradient)
        return gather(quantized, torch.cat(codes, 1), commitment, parts)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        codes = []
        with torch.autocast(latents.device.type, enabled=False):
            residual = at_least_float32(latents)
            for scale, places in zip(self._scales, self.places, strict=True):
                found = scale.encode(self._pool(residual, places))  # [B * places, 1, T]
                residual = residual - self._spread(scale.decode(found), places)
                codes.append(self._by_frame(found, places))
        return torch.cat(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, k, T], k <= K, to latents [B, T, D]."""
        codes = with_all_books(codes, self.num_codebooks)
        total = None
        for scale, places, part in zip(
            self._scales, self.places, torch.split(codes, self.places, 1), strict=True
        ):
            vectors = self._spread(scale.decode(part.flatten(0, 1)[:, None]), places)
            total = vectors if total is None else total + vectors
        assert total is not None
        return total

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Start each scale on the residual of the coarser ones, on latents [N, D].

        Raises:
            CodecError: No latents, or some are not finite.
        """
        residual = usable(latents)[None]
        for scale, places in zip(self._scales, self.places, strict=True):
            pooled = self._pool(residual, places)
            scale.start(pooled.flatten(0, 1), generator)
            residual = residual - self._spread(scale.decode(scale.encode(pooled)), places)

    def restart_unused(self, generator: torch.Generator) -> int:
        """Restart at every scale; returns how many entries moved in all."""
        return sum(scale.restart_unused(generator) for scale in self._scales)
