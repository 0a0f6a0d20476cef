"""Configuration of how a run recovers, and of the checkpoints that stay for it."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class GuardConfig:
    """When a run has lost its way, and what then.

    Attributes:
        patience: Bad steps in a row (gradient not finite, or a loss that exploded) after which
            the run goes back to its last checkpoint.
        explosion: A loss this many times its average of the last steps counts as exploded.
        rate_factor: The learning rate is multiplied by this at every return.
        returns: Returns before the run stops instead.
    """

    patience: Positive = 10
    explosion: Annotated[float, Field(gt=1)] = 20.0
    rate_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    returns: Annotated[int, Field(ge=0)] = 3


@dataclass(frozen=True, config=FROZEN)
class KeepConfig:
    """Which checkpoints stay.

    Attributes:
        last: How many; the newest is ``checkpoint``, older ones carry their step.
        best: Also keep ``checkpoint-best``: the best look at the validation clips by `metric`,
            among those of stages with the quantizer in the path.
        metric: Of the validation, averaged over bitrates: ``mel``, ``stft``, ``si_sdr_db``,
            ``pesq``, ``stoi``.
    """

    last: Positive = 1
    best: bool = False
    metric: Literal["mel", "stft", "si_sdr_db", "pesq", "stoi"] = "mel"
