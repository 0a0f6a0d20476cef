"""A cascade: residual stages of any quantizers by name."""

from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Part, Positive
from ..errors import ConfigError
from .base import QUANTIZERS, GradientEstimator
from .stages import Stages


@QUANTIZERS.register("cascade")
class Cascade(Stages):
    """Stages by name, such as a scalar grid first and vectors after.

    By default each book has a projection and a sphere of its own, as in the Descript codec.

    Reference: Improved RVQGAN, https://arxiv.org/abs/2306.06546
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            stage: The quantizer of every stage, with its options.
            first: Another one for the first stage.
            books: Books of each stage; must divide `num_codebooks`.
            gradient: How the encoder gets its gradient.
        """

        stage: Part = ComponentConfig("rvq", {"codebook_dim": 8, "normalize": True})
        first: Part | None = None
        books: Positive = 1
        gradient: GradientEstimator = "straight_through"

    def __init__(
        self, config: Config, *, latent_dim: int, num_codebooks: int, codebook_size: int
    ) -> None:
        if num_codebooks < 1 or num_codebooks % config.books:
            raise ConfigError(f"books={config.books} must divide num_codebooks={num_codebooks}")
        sizes = {"latent_dim": latent_dim, "num_codebooks": config.books}
        parts = [config.first or config.stage] + [config.stage] * (
            num_codebooks // config.books - 1
        )
        super().__init__(
            [
                QUANTIZERS.create(part.name, part.options, codebook_size=codebook_size, **sizes)
                for part in parts
            ],
            config.gradient,
            codebook_size,
        )
