"""What a comparison of quantizers found: means with intervals, tables and a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import t as student


@dataclass(frozen=True)
class Column:
    """A number that each trial has.

    Attributes:
        name: Field of the trial.
        heading: In tables.
        digits: Behind the point.
        factor: What the number is multiplied with to be shown, such as 100 for per cent.
    """

    name: str
    heading: str
    digits: int
    factor: float = 1.0


@dataclass(frozen=True)
class Interval:
    """Mean over seeds, and half its 95 % interval by Student's t; nan for one seed."""

    mean: float
    half: float


LATENT_COLUMNS = (
    Column("signal_to_noise_db", "SNR, dB", 2),
    Column("used_share", "used, %", 1, 100),
    Column("entropy_share", "entropy, %", 1, 100),
    Column("pesq_wb", "PESQ-WB", 2),
    Column("stoi", "STOI", 3),
    Column("frame_us", "µs/frame", 0),
    Column("parameters", "parameters, k", 1, 1e-3),
    Column("train_s", "train, s", 0),
)
LARGE_COLUMNS = (
    Column("used_share", "used, %", 1, 100),
    Column("half_share", "by half, %", 1, 100),
    Column("even_share", "used if even, %", 1, 100),
    Column("entropy_share", "entropy, %", 1, 100),
    Column("signal_to_noise_db", "SNR, dB", 2),
    Column("num_tokens", "codes counted", 0),
    Column("train_s", "train, s", 0),
)
CODEC_COLUMNS = (
    Column("pesq_wb", "PESQ-WB", 2),
    Column("stoi", "STOI", 3),
    Column("signal_to_noise_db", "SNR, dB", 2),
    Column("used_share", "used, %", 1, 100),
    Column("entropy_share", "entropy, %", 1, 100),
    Column("parameters", "parameters, k", 0, 1e-3),
    Column("train_s", "train, s", 0),
)


def interval(values: Sequence[float]) -> Interval:
    """Mean of values, one per seed, and half its 95 % interval."""
    n = len(values)
    if n < 2:
        return Interval(float(values[0]), math.nan)
    spread = float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(float(np.mean(values)), float(student.ppf(0.975, n - 1)) * spread)


def summary(trials: Sequence[Any], columns: Sequence[Column]) -> dict[str, dict[str, Interval]]:
    """Interval of every column by label, best mean of the first column first."""
    rows = {
        label: {
            column.name: interval([getattr(t, column.name) for t in trials if t.label == label])
            for column in columns
        }
        for label in dict.fromkeys(trial.label for trial in trials)
    }
    return dict(sorted(rows.items(), key=lambda row: -row[1][columns[0].name].mean))


def result_table(trials: Sequence[Any], columns: Sequence[Column], title: str) -> Table:
    """One row per label."""
    table = Table(title=title)
    table.add_column("quantizer")
    for column in columns:
        table.add_column(column.heading, justify="right")
    for label, row in summary(trials, columns).items():
        table.add_row(label, *_cells(row, columns))
    return table


def markdown(trials: Sequence[Any], columns: Sequence[Column]) -> str:
    """The same table for a page."""
    rows = [["quantizer", *(column.heading for column in columns)]]
    rows.append(["---", *["--:"] * len(columns)])
    rows += [[label, *_cells(row, columns)] for label, row in summary(trials, columns).items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(row: Mapping[str, Interval], columns: Sequence[Column]) -> list[str]:
    cells = []
    for column in columns:
        mean, half = (
            column.factor * value for value in (row[column.name].mean, row[column.name].half)
        )
        cell = "-" if math.isnan(mean) else f"{mean:.{column.digits}f}"
        exact = math.isnan(half) or half < 0.5 * 10**-column.digits
        cells.append(cell if exact else f"{cell} ± {half:.{column.digits}f}")
    return cells


def draw(trials: Sequence[Any], columns: Sequence[Column], path: Path) -> None:
    """A PNG with a panel for each column, a point with its interval for each label."""
    rows = summary(trials, columns)
    labels = list(rows)[::-1]
    height = 1 + 0.22 * len(labels)
    figure = Figure(figsize=(2 + 2.6 * len(columns), height), layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
    for axis, column in zip(axes, columns, strict=True):
        found = [rows[label][column.name] for label in labels]
        axis.errorbar(
            [column.factor * each.mean for each in found],
            range(len(labels)),
            xerr=[column.factor * np.nan_to_num(each.half) for each in found],
            fmt="o",
            markersize=4,
            capsize=2,
        )
        axis.set_title(column.heading, fontsize=10)
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.grid(alpha=0.3)
        if column.name == "frame_us":
            axis.set_xscale("log")
    figure.savefig(path, dpi=80)
