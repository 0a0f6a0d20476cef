"""CVQ-VAE: entries that are hardly used are drawn to inputs of the current batch, every step."""

from typing import Literal

from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Part
from .base import QUANTIZERS
from .residual import ResidualVQ


@QUANTIZERS.register("cvq")
class ClusteredVQ(ResidualVQ):
    """Residual books whose upkeep is ``anchors``.

    Each entry's anchor is the input nearest to it, and it moves there by a weight that falls to
    zero with the running average of its use.

    Reference: Online Clustered Codebook, https://arxiv.org/abs/2307.15139
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with other defaults."""

        learning: Part = ComponentConfig("gradient")
        upkeep: Literal["restart", "anchors"] = "anchors"
