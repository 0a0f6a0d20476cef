"""Configuration of one stage of a run."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, NonNegative, Positive, Share

from .config_losses import LossName
from .nested import Lengths

Frozen = Literal["encoder", "quantizer", "decoder"]


@dataclass(frozen=True, config=FROZEN)
class StageConfig:
    """One stretch of training.

    Attributes:
        steps: How many.
        quantize: Whether the quantizer is in the path.
        latent_noise: Without quantizer: standard deviation of the noise added to the latents,
            reached linearly over the stage; it makes room for what quantization will cost.
        full_depth: Share of items that hear all books; the rest hear a random number (nested
            dropout), so that any prefix decodes.
        nested_dropout: That number: ``uniform``, any, or ``powers``, a power of two.
        loss_weights: Weights of losses by name, where this stage differs from the run's.
        freeze: Parts that do not learn, so that tokens stay the same.
        adversarial: Train with the discriminators.
        learning_rate: Peak of the generator's rate.
        final_learning_rate: Where the schedule ends.
        schedule: ``cosine`` or ``exponential`` fall from the peak to the end.
        warmup_steps: Linear rise to the peak.
        discriminator_learning_rate: Of the discriminators, on the same schedule.
        lost_frames: Share of frames of codes that the decoder does not get, as if their packets
            were lost; in bursts of `lost_burst` frames on average.
        lost_burst: Frames.
    """

    steps: Positive
    quantize: bool = True
    latent_noise: NonNegative = 0.0
    full_depth: Share = 0.5
    nested_dropout: Lengths = "uniform"
    loss_weights: dict[LossName, NonNegative] = Field(default_factory=dict)
    freeze: tuple[Frozen, ...] = ()
    adversarial: bool = False
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    final_learning_rate: NonNegative = 1e-4
    schedule: Literal["cosine", "exponential"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    discriminator_learning_rate: NonNegative = 2e-4
    lost_frames: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lost_burst: Annotated[float, Field(ge=1)] = 3.0

    def __post_init__(self) -> None:
        """An exponential never reaches zero."""
        if self.schedule == "exponential" and self.final_learning_rate == 0:
            raise ValueError("an exponential schedule needs final_learning_rate above 0")
