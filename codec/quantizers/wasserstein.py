"""VQ-WAE: the entries are pulled to the inputs as one distribution to another."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Part
from .base import QUANTIZERS
from .residual import ResidualVQ


@QUANTIZERS.register("vqwae")
class WassersteinVQ(ResidualVQ):
    """Residual books that learn by gradient, with a Wasserstein distance beside the usual losses.

    Reference: Vector Quantized Wasserstein Auto-Encoder, https://arxiv.org/abs/2302.05917
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with other defaults."""

        learning: Part = ComponentConfig("gradient")
        wasserstein: Annotated[float, Field(ge=0)] = 0.5
