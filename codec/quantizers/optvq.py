"""OptVQ: in training, codes are given by optimal transport, so that all entries share the inputs."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..config import FROZEN, ComponentConfig, Part, Positive
from .assignment import ASSIGNMENTS, Assignment, nearest, scores
from .base import QUANTIZERS
from .residual import ResidualVQ


@ASSIGNMENTS.register("sinkhorn")
class Sinkhorn(Assignment):
    """Each input's largest share of an entropic transport plan that uses all entries alike.

    Squared distances are normalised to mean 0 and standard deviation 1 over the batch, so that
    one `epsilon` fits latents of any scale. In several processes each balances its own inputs.

    Reference: Preventing Local Pitfalls in Vector Quantization via Optimal Transport,
    https://arxiv.org/abs/2412.15195
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config:
        """Options.

        Attributes:
            epsilon: Weight of the plan's entropy; the smaller, the nearer.
            iterations: Rounds of scaling.
        """

        epsilon: Annotated[float, Field(gt=0)] = 0.1
        iterations: Positive = 5

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def choose(self, x: Tensor, table: Tensor) -> Tensor:
        """Codes int64 [...] in training of inputs [..., D]; the nearest if they are not finite."""
        inputs = x.flatten(0, -2)
        cost = -2 * scores(inputs, table) + inputs.square().sum(-1, keepdim=True)
        spread = cost.std() if cost.numel() > 1 else cost.sum()
        if not bool(spread > 0) or not bool(spread.isfinite()):
            return nearest(x, table)
        plan = -(cost - cost.mean()) / (spread * self.config.epsilon)
        for _ in range(self.config.iterations):
            plan = plan - plan.logsumexp(0, keepdim=True)  # every entry gets the same in all
            plan = plan - plan.logsumexp(1, keepdim=True)  # every input is given once
        return plan.argmax(-1).view(x.shape[:-1])


@QUANTIZERS.register("optvq")
class OptVQ(ResidualVQ):
    """Residual books with `Sinkhorn` assignment."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(ResidualVQ.Config):
        """Options of `ResidualVQ` with other defaults."""

        learning: Part = ComponentConfig("gradient")
        assignment: Part = ComponentConfig("sinkhorn")
