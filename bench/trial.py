"""A few steps of a run by the training engine itself: what they cost and where the time goes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sotto.train.clock import StepClock
from sotto.train.config import RunConfig
from sotto.train.loop import Trainer

START_LATENTS = 1024  # to encode more for a good start would take longer than the steps


@dataclass(frozen=True)
class Trial:
    """What some steps were like; the first one, which starts everything, is left out of the times.

    Attributes:
        steps: How many there were.
        steps_per_s: Steps per second of work and of waiting for data.
        cpu_s_per_step: Processor seconds of a step, which other programs at work hardly change.
        audio_per_s: Seconds of audio trained per second.
        data_share: Share of the time in which the step waited for data.
        first_loss: At the first step.
        last_loss: At the last step.
    """

    steps: int
    steps_per_s: float
    cpu_s_per_step: float
    audio_per_s: float
    data_share: float
    first_loss: float
    last_loss: float


def shortened(
    config: RunConfig,
    folder: Path,
    *,
    steps: int,
    batch_size: int,
    seconds: float,
    cache: Path | None = None,
) -> RunConfig:
    """The last stage of a run, cut to `steps` and started from nothing, with every part learning.

    Args:
        config: The run.
        folder: Where the short one writes.
        steps: How many.
        batch_size: Crops per step.
        seconds: Of a crop; four frames if that is longer.
        cache: Of decoded audio; below `folder` if None.
    """
    last = list(config.stages.values())[-1]
    return replace(
        config,
        output=folder / "run",
        dataset=replace(
            config.dataset,
            cache=cache or folder / "cache",
            batch_size=batch_size,
            crop_seconds=max(seconds, 4 / config.model.frame_rate),
        ),
        stages={"trial": replace(last, steps=steps, freeze=(), quantize=True)},
        start_latents=min(2 * config.model.codebook_size, START_LATENTS),
        log_every=1,
        validation_clips=1,
        validate_every=steps + 1,
        listen_every=0,
    )


class WorkClock(StepClock):
    """Also counts the processor seconds of every step, over all threads of this process."""

    def __init__(self, of: StepClock) -> None:
        """Take the place of another clock."""
        self.on_cuda, self._spans = of.on_cuda, []
        self.work = [0.0]  # per step, the one under way last

    @contextmanager
    def phase(self, name: str, *, waits: bool = False) -> Iterator[None]:
        """Count the block, as the other clock does."""
        begin = time.process_time()
        with super().phase(name, waits=waits):
            yield
        self.work[-1] += time.process_time() - begin

    def read(self) -> dict[str, float]:
        """Seconds of each phase since the last reading, which ends a step."""
        self.work.append(0.0)
        return super().read()


def run_trial(config: RunConfig) -> Trial:
    """Train a `shortened` run to its end.

    Raises:
        CodecError: The model cannot be built, the data not be read, or training diverged.
    """
    trainer = Trainer(config)
    clock = trainer.learner.clock = WorkClock(trainer.learner.clock)
    trainer.run()
    lines = (config.output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [line for line in map(json.loads, lines) if "stage" in line]
    phases = [
        {name: value for name, value in step.items() if name.startswith("seconds/")}
        for step in steps[1:] or steps
    ]
    total = sum(sum(phase.values()) for phase in phases)
    crops = config.dataset.batch_size * trainer.dataset.num_samples / config.model.sample_rate
    return Trial(
        steps=len(steps),
        steps_per_s=len(phases) / total,
        cpu_s_per_step=sum(clock.work[1:-1] or clock.work) / len(phases),
        audio_per_s=len(phases) * crops / total,
        data_share=sum(phase["seconds/data"] for phase in phases) / total,
        first_loss=steps[0]["loss"],
        last_loss=steps[-1]["loss"],
    )
