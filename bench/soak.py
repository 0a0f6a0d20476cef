"""Callers join, leave and are killed for a quarter of an hour: ``make soak``.

Every call that hangs up politely must come back complete, with the codes of the library; memory must
not grow, and no session may be left over. Exit code 1 if anything of that does not hold.
"""

import json as jsonlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer
from rich.console import Console

from sotto.export.runtime import find_bundle

from .machine import package_versions, this_machine
from .soak_run import Sample, Soak, soak

SOAK_FORMAT: Final = 1
GROWTH: Final = 0.10  # of memory, from the end of the first minute to the end
_WARM_S: Final = 60.0
_WINDOW_S: Final = 10.0  # of which a memory figure is the median
_FINE: Final = {"OK", "CANCELLED"}  # a client that left, politely or not


def memory_mb(samples: list[Sample], until_s: float) -> float:
    """Median resident memory in the last seconds before `until_s`, MB."""
    window = [s.memory_mb for s in samples if until_s - _WINDOW_S <= s.second <= until_s]
    return median(window or [samples[-1].memory_mb])


def growth(found: Soak) -> float:
    """Memory at the end over memory after the first minute, minus 1; of less than two, the half."""
    end_s = found.samples[-1].second
    warm_s = min(_WARM_S + _WINDOW_S, end_s / 2)
    return memory_mb(found.samples, end_s) / memory_mb(found.samples, warm_s) - 1


def problems(found: Soak) -> list[str]:
    """What did not hold; empty if all is well."""
    said = [f"{count} calls: {error}" for error, count in found.errors.items()]
    if not found.calls:
        said.append("no call was checked")
    if found.left_open or found.unaccounted:
        said.append(f"{found.left_open} calls left open, {found.unaccounted} unaccounted for")
    if (grown := growth(found)) > GROWTH:
        said.append(f"memory grew by {100 * grown:.1f} %")
    said += [f"{n} calls ended as {c}" for c, n in found.statuses.items() if c not in _FINE]
    return said


def _plot(found: Soak, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    memory, calls = figure.subplots(2, sharex=True)
    minutes = [sample.second / 60 for sample in found.samples]
    memory.plot(minutes, [sample.memory_mb for sample in found.samples])
    memory.set(ylabel="memory, MB", ylim=(0, None))
    calls.plot(minutes, [sample.open for sample in found.samples], linewidth=0.8)
    calls.set(xlabel="minutes", ylabel="calls in progress", ylim=(0, None))
    figure.savefig(path, dpi=120)


def main(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 15.0,
    callers: Annotated[int, typer.Option(min=1, help="Duplex callers at the same time.")] = 20,
    processes: Annotated[int, typer.Option(min=1, help="That they are spread over.")] = 4,
    seed: Annotated[int, typer.Option(help="Of all random choices.")] = 0,
    model: Annotated[str, typer.Option(help="Shipped model, or bundle folder.")] = "speech-24khz",
    output: Annotated[Path, typer.Option(help="Folder of soak.json and soak.png.")] = Path(
        "bench-output"
    ),
) -> None:
    """Find out whether a server falls over, grows, or forgets sessions."""
    console = Console(highlight=False, markup=False, soft_wrap=True)

    def on_sample(sample: Sample) -> None:
        if round(sample.second) % 60 == 0:
            where = f"{sample.second / 60:.0f} min"
            console.print(f"{where}: {sample.open} calls, {sample.memory_mb:.0f} MB")

    found = soak(
        find_bundle(model),
        minutes * 60,
        callers=callers,
        processes=processes,
        kill_every_s=(5, 15),
        seed=seed,
        on_sample=on_sample,
    )
    said = problems(found)
    report = {
        "format": SOAK_FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": minutes,
        "callers": callers,
        "growth": growth(found),
        "problems": said,
        **asdict(found),
        "versions": package_versions("sotto-codec", "numpy", "onnxruntime", "grpcio"),
        "machine": asdict(this_machine()),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "soak.json").write_text(jsonlib.dumps(report, indent=2) + "\n", encoding="utf-8")
    _plot(found, output / "soak.png")
    console.print(
        f"{found.calls} calls checked, {found.rude} hung up on, {found.killed} processes killed; "
        f"memory {100 * growth(found):+.1f} %; {'; '.join(said) or 'all is well'}"
    )
    if said:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
