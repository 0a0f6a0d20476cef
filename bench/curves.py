"""The curves of a training run as a picture and a table: ``python -m sotto.bench.curves RUN``."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from sotto.codec.config import build
from sotto.codec.errors import BundleError, CodecError
from sotto.train.bundle import read_run
from sotto.train.config import RunConfig

Line = dict[str, Any]
SCORES = ("pesq", "stoi")
LOSSES = ("mel", "stft", "waveform", "adversarial", "discriminator")  # of the picture


@dataclass(frozen=True)
class Curves:
    """What a run wrote while it trained.

    Attributes:
        steps: Means of the losses between two lines, by step.
        looks: What the validation clips gave, by step.
        minutes: Processor minutes from the start to each step of `steps`; those of a session that
            was killed count from its last checkpoint.
        bitrates: Bits per second by number of books.
    """

    steps: list[Line]
    looks: list[Line]
    minutes: dict[int, float]
    bitrates: dict[int, float]

    def minutes_at(self, step: int) -> float:
        """Processor minutes to the last line up to `step`."""
        return max((m for at, m in self.minutes.items() if at <= step), default=0.0)

    def stage_at(self, step: int) -> str:
        """Name of the stage that `step` belongs to."""
        names = [str(line["stage"]) for line in self.steps if line["step"] >= step]
        return names[0] if names else str(self.steps[-1]["stage"])

    def books(self) -> list[int]:
        """Numbers of books that the clips were heard with, fewest first."""
        names = {name.split("/")[-1] for look in self.looks for name in look}
        return sorted(int(name.removesuffix("_books")) for name in names if "_books" in name)


def read_curves(run: Path) -> Curves:
    """Read ``metrics.jsonl`` of a run.

    Raises:
        BundleError: Not the folder of a run, or nothing is written in it yet.
    """
    config = build(RunConfig, read_run(run)["config"], str(run / "run.json"))
    try:
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
        lines: list[Line] = [json.loads(line) for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise BundleError(f"'{run}' has no metrics.jsonl that can be read: {error}") from error
    steps = [line for line in lines if "stage" in line]
    if not steps:
        raise BundleError(f"'{run}' has no step in metrics.jsonl yet; expected one every log_every")
    minutes, total, before = {}, 0.0, 0
    for line in steps:
        total += (line["step"] - before) * line.get("processor_seconds", 0.0) / 60
        minutes[line["step"]], before = total, line["step"]
    model = config.model
    per_book = model.frame_rate * math.log2(model.codebook_size)
    rates = {books: books * per_book for books in range(1, model.num_codebooks + 1)}
    return Curves(steps, [line for line in lines if "stage" not in line], minutes, rates)


def table(curves: Curves) -> str:
    """One row per look at the validation clips, as Markdown."""
    books = curves.books()
    rates = [f"{curves.bitrates[k] / 1000:g}" for k in books]
    headings = ["step", "stage", "processor min", "mel", "stft"]
    headings += [f"{score.upper()}, {rate} kbit/s" for score in SCORES for rate in rates]
    rows = [headings, ["--:", "---", *["--:"] * (len(headings) - 2)]]
    for look in curves.looks:
        step = look["step"]
        most = f"/{books[-1]}_books" if f"valid/mel/{books[-1]}_books" in look else ""
        row = [str(step), curves.stage_at(step), f"{curves.minutes_at(step):.1f}"]
        row += [f"{look[f'valid/{name}{most}']:.4f}" for name in ("mel", "stft")]
        for score in SCORES:
            values = [look.get(f"valid/{score}/{k}_books") for k in books]
            if not most:  # no quantizer yet: the same whatever the bitrate
                values = [None] * (len(books) - 1) + [look.get(f"valid/{score}")]
            row += ["-" if value is None else f"{value:.2f}" for value in values]
        rows.append(row)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def draw(curves: Curves, target: Path) -> None:
    """Losses, scores of the validation clips and use of the books over the steps, as a PNG."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, pesq, stoi, entropy = figure.subplots(2, 2, sharex=True).flat
    for name in LOSSES:
        _plot(losses, curves.steps, name, name)
    losses.set(ylabel="loss", yscale="log")
    for axis, score in ((pesq, "pesq"), (stoi, "stoi")):
        for k in curves.books():
            label = f"{curves.bitrates[k] / 1000:g} kbit/s"
            _plot(axis, curves.looks, f"valid/{score}/{k}_books", label)
        axis.set(ylabel=f"{score.upper()} of the validation clips")
    last = max(curves.bitrates)
    for k in sorted({0, 1, last // 2, last - 1}):
        _plot(entropy, curves.looks, f"valid/entropy_share/book_{k}", f"book {k}")
    entropy.set(ylabel="entropy / log2 of the book")
    begins = {str(line["stage"]): line["step"] for line in reversed(curves.steps)}
    for axis in (losses, pesq, stoi, entropy):
        for step in list(begins.values())[:-1]:  # all but the first stage
            axis.axvline(step, color="grey", linewidth=0.5)
        if axis.lines:
            axis.legend(fontsize="small")
    for axis in (stoi, entropy):
        axis.set_xlabel("step")
    figure.savefig(target, dpi=90)


def _plot(axis: Axes, lines: Sequence[Line], name: str, label: str) -> None:
    points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else "")


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    picture: Annotated[Path | None, typer.Option(help="Where the PNG goes.")] = None,
) -> None:
    """Print a table of a run's validation and draw its curves."""
    console = Console()
    try:
        curves = read_curves(run)
    except CodecError as error:
        message = f"error: {error}"
        Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    console.print(table(curves), markup=False, highlight=False, soft_wrap=True)
    target = picture or run / "curves.png"
    draw(curves, target)
    console.print(f"{target}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
