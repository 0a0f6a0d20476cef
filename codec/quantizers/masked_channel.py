"""Masked-channel residual quantization: the first books share the channels, the others the rest."""

from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Part, Positive
from ..errors import ConfigError
from .base import QUANTIZERS, GradientEstimator
from .grouped import Grouped, shares_of
from .stages import Stages


@QUANTIZERS.register("mcrvq")
class MaskedChannelRVQ(Stages):
    """The first books each see a part of the channels only; the others quantize what is left.

    So the first books share the load that one would carry alone.

    Reference: Language-Codec, https://arxiv.org/abs/2402.12208
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            masked: How many books see a part of the channels; must divide the latents' width.
            first: The quantizer of one such book.
            rest: The quantizer of the residual.
            gradient: How the encoder gets its gradient.
        """

        masked: Positive = 3
        first: Part = ComponentConfig("rvq")
        rest: Part = ComponentConfig("rvq")
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        if config.masked >= num_codebooks:
            raise ConfigError(
                f"masked={config.masked} leaves no books of num_codebooks={num_codebooks} for the "
                "residual"
            )
        first, rest = config.first, config.rest
        sizes = shares_of(config.masked, latent_dim, config.masked)
        masked = [
            QUANTIZERS.create(first.name, first.options, codebook_size=codebook_size, **sizes)
            for _ in range(config.masked)
        ]
        size = {"codebook_size": codebook_size}
        remaining = num_codebooks - config.masked
        super().__init__(
            [
                Grouped(masked, num_codebooks=config.masked, **size),
                QUANTIZERS.create(
                    rest.name, rest.options, latent_dim=latent_dim, num_codebooks=remaining, **size
                ),
            ],
            config.gradient,
            codebook_size,
        )
