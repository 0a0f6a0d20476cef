"""How many live callers one server carries: ``python -m sotto.bench.load``, or ``make load``.

A server and its clients run on this machine. Sessions are added until the 99th percentile of the
added delay passes the limit; the same is done with a server that batches nothing.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sotto.export.runtime import find_bundle

from .bulk import measure_bulk
from .load_client import ClientConfig
from .load_ramp import Ramp, Step, ramp
from .load_report import DEFINITIONS, LoadReport, cpu_ratio, save
from .machine import package_versions, this_machine


def _print(step: Step) -> None:
    line = (
        f"{step.sessions} sessions: p50 {step.p50_ms:.0f} ms, p95 {step.p95_ms:.0f} ms, "
        f"p99 {step.p99_ms:.0f} ms; server {step.server_cpu:.2f} cores, "
        f"{step.server_ms_per_s:.1f} ms for 1 s of audio, {step.memory_mb:.0f} MB; "
        f"clients {step.client_cpu:.2f} cores"
    )
    failed = f"; {step.failed} FAILED: {step.why}" if step.failed else ""
    Console().print(line + failed, highlight=False, markup=False, soft_wrap=True)


def _summary(report: LoadReport) -> str:
    text = f"capacity: {report.batched.capacity} sessions"
    if report.unbatched is not None and report.cpu_ratio is not None:
        text += (
            f"; one by one {report.unbatched.capacity}, with {report.cpu_ratio:.1f} times the "
            "processor time for the same audio"
        )
    return f"{text}; Encode of long files at {100 * report.bulk.share:.0f} % of the library's speed"


def main(
    sessions: Annotated[int, typer.Option(help="Only this many; 0 ramps up.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of one step.")] = 10.0,
    start: Annotated[int, typer.Option(min=1, help="Sessions of the first step.")] = 20,
    step: Annotated[int, typer.Option(min=1, help="Sessions that each step adds.")] = 10,
    most: Annotated[int, typer.Option(min=1, help="Sessions at which the ramp ends.")] = 300,
    chunks_ms: Annotated[list[int], typer.Option(help="Chunk lengths, in turn.")] = [80],  # noqa: B006
    clip: Annotated[str, typer.Option(help="Mono audio file that callers say.")] = "",
    compare: Annotated[bool, typer.Option(help="Also without batching.")] = True,
    processes: Annotated[int, typer.Option(min=1, help="Processes of clients.")] = 1,
    max_wait_ms: Annotated[float | None, typer.Option(min=0, help="As the setting.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="As the setting.")] = None,
    model: Annotated[str, typer.Option(help="Shipped model, or bundle folder.")] = "speech-24khz",
    output: Annotated[Path, typer.Option(help="Folder of load.json and load.png.")] = Path(
        "bench-output"
    ),
) -> None:
    """Find out how many live sessions a server on this machine carries."""
    counts = [sessions] if sessions else list(range(start, most + 1, step))
    bundle, config = find_bundle(model), ClientConfig("", tuple(chunks_ms), seconds, 0, clip=clip)
    chosen: dict[str, Any] = {"workers": workers, "max_wait_ms": max_wait_ms}
    settings = {name: value for name, value in chosen.items() if value is not None}

    def run(**more: Any) -> Ramp:
        return ramp(bundle, counts, config, processes, settings | more, _print)

    batched = run()
    unbatched = run(max_batch=1) if compare else None
    carried = unbatched.capacity if unbatched is not None else 0
    report = LoadReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        chunks_ms=config.chunks_ms,
        clip=clip or "sample",
        step_s=seconds,
        batched=batched,
        unbatched=unbatched,
        cpu_ratio=cpu_ratio(batched, unbatched) if unbatched is not None else None,
        capacity_ratio=batched.capacity / carried if carried else None,
        bulk=measure_bulk(bundle),
        definitions=DEFINITIONS,
        versions=package_versions("sotto-codec", "numpy", "onnxruntime", "grpcio"),
        machine=this_machine(),
    )
    save(report, output)
    summary = f"{_summary(report)}; saved {output}/load.json"
    Console().print(summary, highlight=False, markup=False, soft_wrap=True)
    ramps = [found for found in (batched, unbatched) if found is not None]
    if any(found.unfinished or any(s.failed for s in found.steps) for found in ramps):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
