"""Evaluations as tables for a terminal."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from .metrics import SLOW, Metric, metrics
from .report import RateResult, Report, Summary


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a report: scores, scores per group, codebook use, what is missing, definitions."""
    console = console or Console()
    model, machine = report.model, report.machine
    console.print(
        f"{model['name']} {model['version']} {model['identity'][:12]} on {report.folder}: "
        f"{report.num_clips} clips, {report.seconds:.1f} s",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"{machine.cpu}, {machine.cores} cores", highlight=False, soft_wrap=True)
    console.print(score_table(report))
    if len(report.rates[0].groups) > 1:
        console.print(group_table(report))
    if report.codebooks:
        console.print(codebook_table(report))
    for line in (*_gaps(report), *(f"{k}: {v}" for k, v in report.definitions.items())):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def score_table(report: Report) -> Table:
    """One row per bitrate: means with 95 % intervals, measured bit/s, real-time factor."""
    table = Table(title="Mean over clips [95 % interval]")
    _add_columns(table, "bit/s", "measured", "books", *_headings(report), "x real time")
    for rate in report.rates:
        table.add_row(
            f"{rate.bitrate:g}",
            f"{rate.measured_bitrate:.0f}",
            str(rate.num_codebooks or "-"),
            *(_interval(rate.metrics[metric.name]) for metric in _shown(report)),
            f"{rate.times_real_time:.0f}",
        )
    return table


def comparison_table(reports: Sequence[Report]) -> Table:
    """One row per codec and bitrate, by measured bit rate: means."""
    table = Table(title="Side by side, on the same clips")
    _add_columns(table, "codec", "bit/s", *_headings(reports[0]))
    rows = [(rate, report) for report in reports for rate in report.rates]
    for rate, report in sorted(rows, key=lambda row: row[0].measured_bitrate):
        table.add_row(
            str(report.model["name"]),
            f"{rate.measured_bitrate:.0f}",
            *(_number(rate.metrics[metric.name].mean) for metric in _shown(report)),
        )
    return table


def group_table(report: Report) -> Table:
    """One row per source folder and bitrate: means."""
    table = Table(title="Mean per source folder")
    _add_columns(table, "folder", "bit/s", "clips", *_headings(report))
    for group in report.rates[0].groups:
        for rate in report.rates:
            table.add_row(
                group,
                f"{rate.bitrate:g}",
                str(sum(clip.group == group for clip in report.clips)),
                *(_number(rate.groups[group][metric.name].mean) for metric in _shown(report)),
            )
    return table


def codebook_table(report: Report) -> Table:
    """One row per book: entries used, entropy, codes counted."""
    table = Table(title=f"Use of the codebooks of {report.model['codebook_size']} entries")
    _add_columns(table, "book", "used", "entropy", "codes")
    for book in report.codebooks:
        table.add_row(
            str(book.book),
            f"{book.used_share:.1%}",
            f"{book.entropy_share:.1%}",
            str(book.num_tokens),
        )
    return table


def _gaps(report: Report) -> Iterable[str]:
    for skipped in report.skipped:
        yield f"skipped {skipped.file}: {skipped.reason}"
    for rate in report.rates:
        for metric in _shown(report):
            if rate.metrics[metric.name].num_nan:
                yield f"{metric.title} at {rate.bitrate:g} bit/s: {_why(report, rate, metric)}"


def _why(report: Report, rate: RateResult, metric: Metric) -> str:
    index = report.rates.index(rate)
    scores = {clip.file: clip.points[index].scores[metric.name] for clip in report.clips}
    missing = [f"{file} ({score.reason})" for file, score in scores.items() if score.reason]
    return f"no number for {len(missing)} of {report.num_clips} clips, such as {missing[0]}"


def _shown(report: Report) -> list[Metric]:
    known = {metric.name: metric for metric in metrics(slow=tuple(SLOW))}
    return [known[name] for name in report.rates[0].metrics]


def _headings(report: Report) -> list[str]:
    return [
        f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"
        + (f"\n{metric.unit}" if metric.unit else "")
        for metric in _shown(report)
    ]


def _add_columns(table: Table, *headings: str) -> None:
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("folder", "codec") else "right")


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _interval(summary: Summary) -> str:
    if math.isnan(summary.low):
        return _number(summary.mean)
    return f"{_number(summary.mean)}\n[{_number(summary.low)}, {_number(summary.high)}]"
