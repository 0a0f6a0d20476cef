"""FQGAN: several small books side by side, with a term that keeps what they say different."""

from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, NonNegative, Part
from ..errors import ConfigError
from ..layers import at_least_float32
from .base import QUANTIZERS, Quantized, only_heard
from .grouped import Grouped
from .projected_groups import ProjectedGroups
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
class FactorizedVQ(ProjectedGroups):
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
        super().__init__(
            config.inner,
            G,
            width=width,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
        self.difference = config.difference
        self.projection = Projection(latent_dim, width)

    def down(self, latents: Tensor) -> Tensor:
        """Latents [..., D] projected, all groups side by side."""
        narrow: Tensor = self.projection.down(at_least_float32(latents))
        return narrow

    def up(self, vectors: Tensor) -> Tensor:
        """Project [..., width] back."""
        latents: Tensor = self.projection.up(vectors)
        return latents

    def turn(self, latents: Tensor) -> None:
        """Start the projection on sample latents [N, D]."""
        self.projection.start(latents)

    def judge(self, out: Quantized, latents: Tensor, depth: Tensor) -> Quantized:
        """With a commitment that moves the latents, not the projection, and how alike groups are."""
        G = len(self.groups)
        held = F.linear(at_least_float32(latents), self.projection.down.weight.detach())
        taken = Grouped.decode(self, only_heard(out.codes, depth)).detach()
        groups = torch.arange(G, device=depth.device).repeat_interleave(held.shape[-1] // G)
        kept = (groups < depth[:, None]).to(held)[:, None]  # [B, 1, width]
        commitment = (kept * (held - taken).square()).mean()
        auxiliary = self.difference * likeness(torch.stack(out.latents.chunk(G, -1), -2))
        if out.auxiliary is not None:
            auxiliary = auxiliary + out.auxiliary
        return replace(out, commitment=commitment, auxiliary=auxiliary)
