"""The options of a book of vectors, and the book that they make."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..config import FROZEN, ComponentConfig, Part
from ..errors import ConfigError
from .base import GradientEstimator
from .codebook import LEARNING, Codebook

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=FROZEN)
class BookOptions:
    """What all quantizers with books of vectors take; every choice goes with every other.

    Attributes:
        learning: What the entries are and how they follow their inputs: a name of `LEARNING`, or
            name and options.
        assignment: How codes are given in training: a name of `ASSIGNMENTS`, or name and options.
        gradient: How the encoder gets its gradient; ``assignment`` goes with those assignments
            that are differentiable.
        normalize: Put latents and entries on the unit sphere, so that the nearest entry is the one
            at the smallest angle (https://arxiv.org/abs/2110.04627); for one book, because a
            residual leaves the sphere.
        decay: Of the moving averages.
        upkeep: What happens to entries that are hardly used: ``restart`` moves them to recent
            inputs now and then, ``anchors`` draws them to inputs in every step.
        restart_threshold: Share of uniform use below which an entry is moved.
        inner_steps: Gradient steps that the book takes on each batch before the encoder's.
        inner_rate: Size of these steps; at 1 an entry goes to the mean of its inputs.
        synchronise: How much of the decoder's gradient the entries get, if they learn by gradient.
        entropy: Weight of the entropy term.
        entropy_temperature: Of its soft assignment, in units of the inputs' variance.
        wasserstein: Weight of the distance between entries and inputs as distributions.
    """

    learning: Part = ComponentConfig("ema")
    assignment: Part = ComponentConfig("nearest")
    gradient: GradientEstimator = "rotation"
    normalize: bool = False
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    upkeep: Literal["restart", "anchors"] = "restart"
    restart_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.1
    inner_steps: Annotated[int, Field(ge=0)] = 0
    inner_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    synchronise: Weight = 1.0
    entropy: Weight = 0.0
    entropy_temperature: Annotated[float, Field(gt=0)] = 0.1
    wasserstein: Weight = 0.0


def make_book(options: BookOptions, *, size: int, dim: int) -> Codebook:
    """The book that `options` describe: `size` vectors of width `dim`.

    Raises:
        ConfigError: An unknown name, or options that do not go together.
    """
    learning = options.learning
    book = LEARNING.create(learning.name, learning.options, size=size, dim=dim, shared=options)
    if options.upkeep == "anchors" and not book.movable:
        raise ConfigError(f"upkeep='anchors' cannot move the entries of learning='{learning.name}'")
    if options.inner_steps and not book.by_gradient:
        raise ConfigError(
            f"inner_steps={options.inner_steps}, but learning='{learning.name}' has no gradient "
            "steps to take; its moving averages are a step of their own"
        )
    if options.gradient == "assignment" and not book.assignment.differentiable:
        raise ConfigError(
            "gradient='assignment' needs an assignment that is differentiable, such as 'index'; "
            f"'{options.assignment.name}' is not"
        )
    return book
