"""Runs the trials of a comparison one by one, keeps each as it comes, and goes on where it stopped."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from sotto.codec.errors import ConfigError

from .contenders import Contender
from .machine import package_versions, this_machine
from .quantizer_report import Column, markdown, result_table
from .report import to_json


@dataclass(frozen=True)
class Job:
    """One piece of a comparison.

    Attributes:
        label: Of the first trial that it gives.
        seed: Of its trials.
        run: Gives the trials.
        about: What is tried; a saved trial of the same label must have been of the same.
    """

    label: str
    seed: int
    run: Callable[[], Sequence[Any]]
    about: Mapping[str, Any] = field(default_factory=dict)


def jobs_of(
    contenders: Sequence[Contender], seeds: int, run: Callable[[Contender, int], Sequence[Any]]
) -> list[Job]:
    """All contenders from the first seed, then from the next: `run` is told which and which seed."""
    return [
        Job(each.label, seed, partial(run, each, seed), asdict(each))
        for seed in range(seeds)
        for each in contenders
    ]


def report_each(
    jobs: Iterable[Job],
    columns: Sequence[Column],
    about: Mapping[str, Any],
    target: Path,
    kind: type[Any],
    *,
    console: Console,
    resume: bool = False,
) -> list[Any]:
    """Print trials as they come, keep them in ``target.json`` and ``target.md``, then a table.

    Files are written after every job: a run that is stopped leaves what it has.

    Args:
        jobs: What to run, in this order.
        columns: Of the table.
        about: What all trials have in common; it is saved with them.
        target: The files without their endings.
        kind: The dataclass of the trials.
        console: Where to print.
        resume: Keep the trials that ``target.json`` has, and run only what it lacks.

    Returns:
        All trials, also those of before.

    Raises:
        ConfigError: The trials to go on from were of something else.
    """
    store = _Store(about, target.with_suffix(".json"))
    found: list[Any] = store.load(kind) if resume else []
    target.parent.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        if store.has(job, found):
            continue
        trials = job.run()
        found += trials
        for trial in trials:
            numbers = (
                f"{c.heading} {c.factor * getattr(trial, c.name):.{c.digits}f}" for c in columns
            )
            line = f"{trial.label}, seed {trial.seed}: {', '.join(numbers)}"
            console.print(line, highlight=False, soft_wrap=True)
        store.save(found)
        target.with_suffix(".md").write_text(markdown(found, columns), encoding="utf-8")
    console.print(result_table(found, columns, "Mean over seeds ± half the 95 % interval"))
    console.print(f"saved {target}.json", highlight=False, soft_wrap=True)
    return found


class _Store:
    """The JSON of a comparison: its trials, what they are about, the machine and the packages."""

    def __init__(self, about: Mapping[str, Any], path: Path) -> None:
        self.path = path
        self.machine = asdict(this_machine())
        self.about = json.loads(to_json(about))
        self.jobs: dict[str, Any] = {}

    def save(self, trials: Sequence[Any]) -> None:
        """Write all of it, by way of another file: one that is there is whole."""
        found = {
            **self.about,
            "machine": self.machine,
            "versions": package_versions("torch", "numpy", "pesq", "pystoi"),
            "jobs": self.jobs,
            "trials": [asdict(trial) for trial in trials],
        }
        part = self.path.with_suffix(".part")
        part.write_text(to_json(found), encoding="utf-8")
        part.replace(self.path)

    def load(self, kind: type[Any]) -> list[Any]:
        """The trials of before; none if there is no file."""
        if not self.path.exists():
            return []
        try:
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            self.jobs = dict(saved["jobs"])
            trials = [
                kind(**{name: math.nan if x is None else x for name, x in trial.items()})
                for trial in saved["trials"]
            ]
            cpu = saved["machine"]["cpu"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"'{self.path}' is not a comparison to go on from ({error!r}); remove it, or write "
                "to another folder"
            ) from error
        ours, theirs = {**self.about, "cpu": self.machine["cpu"]}, {**saved, "cpu": cpu}
        for name, value in ours.items():
            self._check(name, theirs.get(name), value)
        return trials

    def has(self, job: Job, trials: Sequence[Any]) -> bool:
        """Whether its trials are there already; notes what the job is about."""
        about = json.loads(to_json(job.about))
        self._check(job.label, self.jobs.setdefault(job.label, about), about)
        return any((trial.label, trial.seed) == (job.label, job.seed) for trial in trials)

    def _check(self, name: str, saved: object, wanted: object) -> None:
        if saved != wanted:
            raise ConfigError(
                f"'{self.path}' was measured with {name} = {saved}, and now it is {wanted}: start "
                "again without resume, or write to another folder"
            )
