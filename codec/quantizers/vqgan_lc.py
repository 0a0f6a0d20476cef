"""VQGAN-LC: a large codebook fixed at clustered features, behind a projector that learns."""

from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Part
from .base import QUANTIZERS
from .codebook import LEARNING
from .mapped import LinearMap, MappedBook
from .residual import ResidualVQ

if TYPE_CHECKING:
    from .options import BookOptions


@LEARNING.register("features")
class FeatureBook(MappedBook):
    """Entries stay the k-means centres of the encoder's features at the start.

    A linear projector, at first the identity, is all that learns.

    Reference: Scaling the Codebook Size of VQGAN to 100,000 with a Utilization Rate of 99%,
    https://arxiv.org/abs/2406.11837
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(self, config: Config, *, size: int, dim: int, shared: "BookOptions") -> None:
        super().__init__(LinearMap(dim), learned=False, size=size, dim=dim, shared=shared)


@QUANTIZERS.register("vqgan-lc")
class VQGANLC(ResidualVQ):
    """Residual books of `FeatureBook`."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with another default."""

        learning: Part = ComponentConfig("features")
