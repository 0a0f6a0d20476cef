"""IBQ: straight-through on the one-hot choice of a code, so that every entry gets gradient."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, Part
from .assignment import ASSIGNMENTS, Assigned, Assignment, scores, soft_lookup
from .base import QUANTIZERS, GradientEstimator
from .residual import ResidualVQ


class SoftAssignment(Assignment):
    """Codes whose gradient is that of a softmax over all entries.

    The logits are negative squared distances in units of their mean over the batch, over a
    temperature. The papers take dot products, which are the same for entries of one length;
    distances give the same code in training as in serving for entries of any length.
    """

    differentiable = True
    temperature: float

    def forward(self, x: Tensor, table: Tensor) -> Assigned:
        """Give inputs [..., D] their entries of the table [V, D]."""
        if not self.training:
            return super().forward(x, table)
        logits = self._logits(x, table)
        codes = self._pick(logits.detach())
        learned = soft_lookup(self._logits(x.detach(), table), codes, table)
        return Assigned(codes, soft_lookup(logits, codes, table), learned)

    def choose(self, x: Tensor, table: Tensor) -> Tensor:
        """Codes int64 [...] in training of inputs [..., D]."""
        return self._pick(self._logits(x, table))

    def _pick(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1)

    def _logits(self, x: Tensor, table: Tensor) -> Tensor:
        """Log shares, but for a constant, of inputs [..., D]: [..., V]."""
        found = 2 * scores(x, table)
        unit = _spread(x.detach(), table.detach())
        return found / (unit * self._temperature())

    def _temperature(self) -> float:
        return self.temperature


def _spread(x: Tensor, table: Tensor) -> Tensor:
    """Mean squared distance of inputs to the entries' mean: a scale for distances."""
    if not x.numel():
        return x.new_ones(())
    return (x - table.mean(0)).square().sum(-1).mean().clamp_min(1e-12)


@ASSIGNMENTS.register("index")
class IndexBackpropagation(SoftAssignment):
    """The nearest entry, with the gradient of the soft choice.

    Reference: Taming Scalable Visual Tokenizer for Autoregressive Image Generation,
    https://arxiv.org/abs/2412.02692
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            temperature: Of the softmax, in units of the inputs' variance.
        """

        temperature: Annotated[float, Field(gt=0)] = 0.1

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.temperature = config.temperature


@QUANTIZERS.register("ibq")
class IBQ(ResidualVQ):
    """Residual books that learn by gradient through `IndexBackpropagation`."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with other defaults."""

        learning: Part = ComponentConfig("gradient")
        assignment: Part = ComponentConfig("index")
        gradient: GradientEstimator = "assignment"
        entropy: Annotated[float, Field(ge=0)] = 0.05
