"""Group-residual vector quantization: the latent is split in groups, each with residual books."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..config import FROZEN
from .base import QUANTIZERS
from .grouped import Grouped, shares_of
from .residual import ResidualVQ


@QUANTIZERS.register("grvq")
class GroupResidualVQ(Grouped):
    """`groups` residual quantizers side by side, each on its share of the channels.

    Reference: HiFi-Codec, https://arxiv.org/abs/2305.02765
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """The options of `ResidualVQ`, and the number of groups."""

        groups: Annotated[int, Field(gt=0)] = 2

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        sizes = shares_of(config.groups, latent_dim, num_codebooks)
        super().__init__(
            [
                ResidualVQ(config, codebook_size=codebook_size, **sizes)
                for _ in range(config.groups)
            ],
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
        )
