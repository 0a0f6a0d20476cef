"""Notices a run that has lost its way: steps without a usable gradient, or a loss that explodes."""

import math

from .config_recovery import GuardConfig

MEMORY = 0.98  # of the average loss that an explosion is measured against
FEWEST = 20  # steps of a stage before that average means something


class Guard:
    """Counts bad steps in a row."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.stage = ""
        self.average, self.seen, self.bad = 0.0, 0, 0
        self.exploded = False  # at the last step

    def watch(self, stage: str, loss: float, *, skipped: bool) -> None:
        """Judge one step.

        Args:
            stage: Its name; the losses of two stages do not compare.
            loss: What the step gave.
            skipped: Whether its gradient could not be used.
        """
        if stage != self.stage:
            self.stage, self.average, self.seen = stage, 0.0, 0
        known = self.seen >= FEWEST
        self.exploded = known and loss > self.config.explosion * self.average / (
            1 - MEMORY**self.seen
        )
        if skipped or not math.isfinite(loss) or self.exploded:
            self.bad += 1
            return
        self.bad = 0
        self.average, self.seen = MEMORY * self.average + (1 - MEMORY) * loss, self.seen + 1

    @property
    def healthy(self) -> bool:
        """Whether the last step was good, so that a checkpoint of it is worth keeping."""
        return self.bad == 0

    @property
    def lost(self) -> bool:
        """Whether so many steps in a row were bad that the run must go back."""
        return self.bad >= self.config.patience
