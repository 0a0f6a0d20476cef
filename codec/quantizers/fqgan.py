"""FQGAN: several small books side by side, with a term that keeps what they say different."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, NonNegative, Part
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import NOT_HEARD, QUANTIZERS, Quantized, usable
from .grouped import Grouped, shares_of
from .projection import Projection


def likeness(vectors: Tensor) -> Tensor:
    """Mean squared cosine between the vectors [..., G, d] of different groups: 0 to 1.

    Vectors of no length are like none. 0 for one group or no vectors.
    """
    G = vectors.shape[-2]
    if G < 2 or not vectors.numel():
        return vectors.new_zeros(())
    units = F.normalize(vectors, dim=-1)
    cosines = units @ units.transpose(-1, -2)  # [..., G, G]
    others = ~torch.eye(G, dtype=torch.bool, device=vectors.device)
    return cosines[..., others].square().mean()


@QUANTIZERS.register("fqgan")
class FactorizedVQ(Grouped):
    """Each group of books looks at the whole latent through a projection of its own.

    The projections start on the principal directions, a group on those that come after the ones of
    the group before. What the groups choose is pulled towards right angles, so that none says what
    another has said. The paper also asks the groups to predict features of image models; here that
    is what distillation of the first books is for (`train/distill.py`).

    Reference: Factorized Visual Tokenization and Generation, https://arxiv.org/abs/2411.16681
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            groups: How many; must divide the books. None for one per book.
            group_dim: Width of each group's space; None for an even share of the latents'.
            inner: The quantizer of each group.
            difference: Weight of the term that keeps groups different.
        """

        groups: Annotated[int, Field(gt=0)] | None = None
        group_dim: Annotated[int, Field(gt=0)] | None = None
        inner: Part = ComponentConfig("rvq", {"learning": "gradient"})
        difference: NonNegative = 0.1

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        G = config.groups or num_codebooks
        width = G * (config.group_dim or max(latent_dim // G, 1))
        if width > latent_dim:
            raise ConfigError(
                f"groups={G} of group_dim={width // G} are wider than latent_dim={latent_dim}"
            )
        sizes = shares_of(G, width, num_codebooks)
        inner = config.inner
        super().__init__(
            [
                QUANTIZERS.create(inner.name, inner.options, codebook_size=codebook_size, **sizes)
                for _ in range(G)
            ],
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.difference = config.difference
        self.projection = Projection(latent_dim, width)

    def _down(self, latents: Tensor) -> Tensor:
        narrow: Tensor = self.projection.down(at_least_float32(latents))
        return narrow

    def forward(self, latents: Tensor, depth: Tensor) -> Quantized:
        """Quantize latents [B, T, D]; the first book of every group is heard first."""
        G = len(self.groups)
        with torch.autocast(latents.device.type, enabled=False):
            out = super().forward(self._down(latents), depth)
            quantized = self.projection.up(out.latents)
            # Commitment must move the latents, not the projection.
            held = F.linear(at_least_float32(latents), self.projection.down.weight.detach())
            order = torch.arange(self.num_codebooks, device=depth.device)[None, :, None]
            codes = torch.where(order < depth[:, None, None], out.codes, NOT_HEARD)
            taken = super().decode(codes).detach()
            groups = torch.arange(G, device=depth.device).repeat_interleave(held.shape[-1] // G)
            kept = (groups < depth[:, None]).to(held)[:, None]  # [B, 1, width]
            commitment = (kept * (held - taken).square()).mean()
            auxiliary = self.difference * likeness(
                out.latents.reshape(*held.shape[:2], G, held.shape[-1] // G)
            )
        if out.auxiliary is not None:
            auxiliary = auxiliary + out.auxiliary
        return Quantized(quantized, out.codes, commitment, out.codebook, auxiliary)

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, D] to codes int64 [B, K, T]."""
        with torch.autocast(latents.device.type, enabled=False):
            return super().encode(self._down(latents))

    def search(self, latents: Tensor, depth: Tensor, beam_size: int) -> Tensor:
        """Latents [B, T, D] to the best code paths, group by group: int64 [B, K, T].

        Raises:
            ConfigError: The groups have no residual stages to search, or an impossible size.
        """
        with torch.autocast(latents.device.type, enabled=False):
            return super().search(self._down(latents), depth, beam_size)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, K, T] to latents [B, T, D]."""
        with torch.autocast(codes.device.type, enabled=False):
            latents: Tensor = self.projection.up(super().decode(codes))
        return latents

    @torch.no_grad()
    def start(self, latents: Tensor, generator: torch.Generator) -> None:
        """Turn to the principal directions, then start every group, on sample latents [N, D].

        Raises:
            CodecError: No latents, or some are not finite.
        """
        latents = usable(latents)
        with torch.autocast(latents.device.type, enabled=False):
            self.projection.start(latents)
            super().start(self._down(latents), generator)
