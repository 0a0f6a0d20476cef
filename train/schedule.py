"""How the learning rate of a stage rises and falls."""

import math

from .config_stages import StageConfig


def schedule(at: int, stage: StageConfig, final: float) -> float:
    """Share of the peak learning rate: linear warm-up to 1, then the stage's fall to `final`."""
    if at < stage.warmup_steps:
        return (at + 1) / stage.warmup_steps
    progress = (at - stage.warmup_steps) / max(stage.steps - stage.warmup_steps, 1)
    if stage.schedule == "exponential":
        return float(final**progress)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
