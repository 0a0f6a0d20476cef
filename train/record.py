"""What a run leaves behind: JSON lines, TensorBoard, a progress bar and a description of itself."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from torch import Tensor
from tqdm import tqdm

from sotto.codec import ranks
from sotto.codec.atomic import atomic_path
from sotto.codec.errors import CodecError

from .boards import open_boards
from .config import RunConfig
from .data import CropDataset


@dataclass(frozen=True)
class ValidationReport:
    """One look at the validation clips.

    Attributes:
        metrics: Scalars by name.
        audio: Decoded excerpts float32 [S] by name.
        sample_rate: Hz of these.
        figures: Pictures uint8 [H, W, 3] by name.
    """

    metrics: dict[str, float]
    sample_rate: int
    audio: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    figures: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)


class Recorder:
    """Writes the metrics of a run; use it as a context manager."""

    def __init__(self, config: RunConfig, dataset: CropDataset, step: int) -> None:
        """Open the records of a run, which goes on from `step`, and describe it.

        Raises:
            BackendError: Weights & Biases is asked for, but not installed.
        """
        run = config.output
        run.mkdir(parents=True, exist_ok=True)
        _forget_after(step, run / "metrics.jsonl")
        self._lines = (run / "metrics.jsonl").open("a", encoding="utf-8")
        self._boards = open_boards(run, step, config.wandb, describe_run(config, dataset))
        self._bar = tqdm(
            initial=step, total=config.total_steps, unit="step", disable=not sys.stderr.isatty()
        )
        self._sums: dict[str, tuple[float, int]] = {}
        self._since = (time.monotonic(), time.process_time(), step)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Flush and close everything."""
        self._lines.close()
        for board in self._boards:
            board.close()
        self._bar.close()

    def step(
        self,
        step: int,
        stage: str,
        metrics: Mapping[str, Tensor],
        seconds: Mapping[str, float],
        *,
        every: int,
    ) -> None:
        """Add one step's metrics and seconds by phase; their means are written every `every`."""
        timed = {f"seconds/{name}": value for name, value in seconds.items()}
        values: dict[str, Tensor | float] = {**metrics, **timed}
        for name, scalar in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + float(scalar), count + 1)
        self._bar.update()
        if step % every:
            return
        means: dict[str, float] = {
            name: total / count for name, (total, count) in self._sums.items()
        }
        now, work = time.monotonic(), time.process_time()
        then, worked, before = self._since
        means["steps_per_second"] = (step - before) / max(now - then, 1e-9)
        # All threads, with looks and checkpoints in between; other programs hardly change it.
        means["processor_seconds"] = (work - worked) / (step - before)
        self._since, self._sums = (now, work, step), {}
        self._bar.set_description(f"{stage} loss {means['loss']:.3f}")
        self._write({"step": step, "stage": stage, **means})
        for board in self._boards:
            board.scalars({f"train/{name}": value for name, value in means.items()}, step)

    def validation(self, step: int, report: ValidationReport) -> None:
        """Write one look at the validation clips."""
        scalars = {f"valid/{name}": value for name, value in report.metrics.items()}
        self._write({"step": step, **scalars})
        for board in self._boards:
            board.scalars(scalars, step)
            for name, audio in report.audio.items():
                board.audio(name, audio, step, report.sample_rate)
            for name, figure in report.figures.items():
                board.picture(name, figure, step)

    def _write(self, values: dict[str, float | int | str]) -> None:
        rounded = {k: _rounded(v) if isinstance(v, float) else v for k, v in values.items()}
        self._lines.write(json.dumps(rounded) + "\n")
        self._lines.flush()


def _rounded(value: float) -> float | None:
    """Seven digits; None for what JSON has no number for."""
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _forget_after(step: int, lines: Path) -> None:
    """Drop lines of steps that a run which goes on from `step` will do again, and half lines."""
    if not lines.is_file():
        return
    kept = []
    for line in lines.read_text(encoding="utf-8").splitlines(keepends=True):
        with suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= step and line.endswith("\n"):
                kept.append(line)
    with atomic_path(lines, CodecError) as part:
        part.write_text("".join(kept), encoding="utf-8")


def describe_run(config: RunConfig, dataset: CropDataset) -> dict[str, Any]:
    """Write ``run.json``: the configuration, the command, the versions and the clips' sources."""
    sources = sorted({clip.source for clip in dataset.clips})
    description: dict[str, Any] = {
        "command": " ".join(["sotto", *sys.argv[1:]]),
        "config": TypeAdapter(RunConfig).dump_python(config, mode="json"),
        "git_revision": _git_revision(),
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in ("sotto-codec", "torch", "numpy")},
        "train_clips": len(dataset.clips),
        "sources": sources,
    }
    text = json.dumps(description, indent=2) + "\n"
    (config.output / "run.json").write_text(text, encoding="utf-8")
    return description


def _git_revision() -> str | None:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def mean_metrics(found: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Means of scalars over batches that name them, and over all processes."""
    names = dict.fromkeys(name for metrics in found for name in metrics)
    means = {
        name: torch.stack([m[name].detach().float() for m in found if name in m]).mean()
        for name in names
    }
    ranks.average(means.values())
    return means
