"""A comparison that is stopped goes on with what it has, and with nothing else."""

import json
import math
from dataclasses import dataclass

import pytest
from rich.console import Console

from sotto.bench.quantizer_jobs import Job, report_each
from sotto.bench.quantizer_report import Column
from sotto.codec.errors import ConfigError

COLUMNS = (Column("value", "value", 1),)


@dataclass(frozen=True)
class Found:
    label: str
    seed: int
    value: float


class Stopped(Exception):
    pass


def job(label, seed, ran, value=1.0, about=None):
    def run():
        ran.append((label, seed))
        if value is None:
            raise Stopped
        return [Found(label, seed, value), Found(f"{label}, beam", seed, math.nan)]

    return Job(label, seed, run, about or {})


def report(jobs, folder, resume=True, **about):
    console = Console(quiet=True)
    target = folder / "out"
    return report_each(jobs, COLUMNS, about, target, Found, console=console, resume=resume)


def test_only_what_is_missing_is_run(tmp_path):
    ran = []
    with pytest.raises(Stopped):
        report([job("a", 0, ran), job("b", 0, ran, None)], tmp_path)
    assert "a" in (tmp_path / "out.md").read_text()
    found = report([job(name, seed, ran) for seed in (0, 1) for name in "ab"], tmp_path)
    assert ran == [("a", 0), ("b", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert [(each.label, each.seed) for each in found[::2]] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("b", 1),
    ]
    assert math.isnan(found[1].value)
    assert len(json.loads((tmp_path / "out.json").read_text())["trials"]) == 8


def test_without_resume_all_is_run_again(tmp_path):
    ran = []
    for _ in range(2):
        report([job("a", 0, ran)], tmp_path, resume=False)
    assert ran == [("a", 0)] * 2


def test_trials_of_another_run_are_not_mixed_in(tmp_path):
    report([job("a", 0, [], about={"books": 8})], tmp_path, steps=100)
    with pytest.raises(ConfigError, match=r"measured with steps = 100, and now it is 50"):
        report([job("a", 0, [])], tmp_path, steps=50)
    with pytest.raises(ConfigError, match=r"measured with a = {'books': 8}"):
        report([job("a", 0, [], about={"books": 4})], tmp_path, steps=100)


def test_a_file_that_is_no_comparison_is_named(tmp_path):
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(ConfigError, match="is not a comparison to go on from"):
        report([job("a", 0, [])], tmp_path)
