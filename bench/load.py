"""How many live callers one server carries: ``python -m sotto.bench.load``, or ``make load``.

A server and its clients run on this machine. Sessions are added until the 99th percentile of the
added delay passes the limit; the same is done with a server that batches nothing.
"""

import json as jsonlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console

from sotto.export.runtime import find_bundle

from .load_client import BUCKETS, ClientConfig, argument
from .machine import Machine, package_versions, this_machine
from .server import RunningServer, running_server

LOAD_FORMAT = 1
LIMIT_MS: Final = 100.0
DEFINITIONS: Final = {
    "session": "one StreamingEncode and one StreamingDecode call: LINEAR16 speech at 24 kHz is sent "
    "at the pace of speech, the codes that come back are sent on, the audio is received",
    "delay": "added delay: from the time at which the last chunk was due that a piece of audio "
    "needs, to its arrival; frame and overlap, which any server needs, are not in it",
    "cpu": "cores in use during the step",
    "memory_mb": "resident memory of the server at the end of the step",
    "capacity": "most sessions whose p99 was at most the limit and none of which failed",
}


@dataclass(frozen=True)
class Step:
    """One number of sessions.

    Attributes:
        sessions: Duplex sessions at once.
        p50_ms: Median of the added delay.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        results: Pieces of audio that were measured.
        failed: Sessions that ended with an error.
        why: The first of those errors.
        server_cpu: Cores the server used.
        client_cpu: Cores the clients used.
        memory_mb: Resident memory of the server.
    """

    sessions: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    results: int
    failed: int
    why: str
    server_cpu: float
    client_cpu: float
    memory_mb: float


@dataclass(frozen=True)
class Ramp:
    """One server under more and more sessions."""

    settings: dict[str, Any]
    capacity: int
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class LoadReport:
    """Everything one run measured."""

    created: str
    chunks_ms: tuple[int, ...]
    step_s: float
    batched: Ramp
    unbatched: Ramp | None
    ratio: float | None
    definitions: dict[str, str]
    versions: dict[str, str]
    machine: Machine


class ClientProcess:
    """A process of clients."""

    def __init__(self, config: ClientConfig) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sotto.bench.load_client", argument(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, sessions: int) -> None:
        """Begin a step."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{sessions}\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What the step came to."""
        assert self._process.stdout is not None
        found: dict[str, Any] = jsonlib.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def _clients(config: ClientConfig, count: int) -> Iterator[list[ClientProcess]]:
    clients = [ClientProcess(ClientConfig(**asdict(config) | {"seed": i})) for i in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def ramp(
    bundle: Path,
    counts: list[int],
    config: ClientConfig,
    processes: int,
    settings: dict[str, Any],
) -> Ramp:
    """Serve with `settings` and add sessions until delay or errors end it."""
    steps: list[Step] = []
    room = {"max_sessions": 2 * max(counts) + 16}
    with running_server(bundle, **settings, **room) as server:
        config = ClientConfig(**asdict(config) | {"address": server.address})
        with _clients(config, processes) as clients:
            before = [0.0] * processes
            for sessions in counts:
                steps.append(_step(server, clients, sessions, before))
                _print(steps[-1])
                if steps[-1].p99_ms > LIMIT_MS or steps[-1].failed:
                    break
    good = [s.sessions for s in steps if s.p99_ms <= LIMIT_MS and not s.failed]
    return Ramp(settings, max(good, default=0), tuple(steps))


def _step(
    server: RunningServer, clients: list[ClientProcess], sessions: int, before: list[float]
) -> Step:
    begun, cpu = time.perf_counter(), server.cpu_s()
    for i, client in enumerate(clients):
        client.ask(sessions // len(clients) + (i < sessions % len(clients)))
    answers = [client.answer() for client in clients]
    seconds, used = time.perf_counter() - begun, server.cpu_s() - cpu
    counts = np.zeros(BUCKETS)
    for answer in answers:
        counts[answer["ms"]] += answer["counts"]
    client_s = sum(answer["cpu_s"] for answer in answers) - sum(before)
    before[:] = [answer["cpu_s"] for answer in answers]
    shares = np.cumsum(counts) / max(1.0, counts.sum())
    p50, p95, p99 = (float(np.searchsorted(shares, q) + 1) for q in (0.5, 0.95, 0.99))
    return Step(
        sessions=sessions,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        results=int(counts.sum()),
        failed=sum(answer["failed"] for answer in answers),
        why=next((answer["why"] for answer in answers if answer["why"]), ""),
        server_cpu=used / seconds,
        client_cpu=client_s / seconds,
        memory_mb=server.resident_mb(),
    )


def _print(step: Step) -> None:
    line = (
        f"{step.sessions} sessions: p50 {step.p50_ms:.0f} ms, p95 {step.p95_ms:.0f} ms, "
        f"p99 {step.p99_ms:.0f} ms; server {step.server_cpu:.2f} cores, "
        f"{step.memory_mb:.0f} MB; clients {step.client_cpu:.2f} cores"
    )
    failed = f"; {step.failed} FAILED: {step.why}" if step.failed else ""
    Console().print(line + failed, highlight=False, markup=False, soft_wrap=True)


def plot(report: LoadReport, path: Path) -> None:
    """Delay over sessions, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    ramps = {"batched": report.batched, "one by one": report.unbatched}
    for (name, found), style in zip(ramps.items(), ("-o", "--s"), strict=True):
        if found is not None:
            counts = [step.sessions for step in found.steps]
            for label in ("p50", "p99"):
                delays = [getattr(step, f"{label}_ms") for step in found.steps]
                axes.plot(counts, delays, style, label=f"{name}, {label}")
    axes.axhline(LIMIT_MS, color="grey", linewidth=0.8)
    axes.set(xlabel="duplex sessions in real time", ylabel="added delay, ms", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


def main(
    sessions: Annotated[int, typer.Option(help="Only this many; 0 ramps up.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of one step.")] = 10.0,
    start: Annotated[int, typer.Option(min=1, help="Sessions of the first step.")] = 20,
    step: Annotated[int, typer.Option(min=1, help="Sessions that each step adds.")] = 10,
    most: Annotated[int, typer.Option(min=1, help="Sessions at which the ramp ends.")] = 300,
    chunks_ms: Annotated[list[int], typer.Option(help="Chunk lengths, in turn.")] = [80],  # noqa: B006
    compare: Annotated[bool, typer.Option(help="Also without batching.")] = True,
    processes: Annotated[int, typer.Option(min=1, help="Processes of clients.")] = 1,
    max_wait_ms: Annotated[float, typer.Option(min=0, help="As the setting.")] = 5.0,
    workers: Annotated[int, typer.Option(min=1, help="As the setting.")] = os.cpu_count() or 1,
    model: Annotated[str, typer.Option(help="Shipped model, or bundle folder.")] = "speech-24khz",
    output: Annotated[Path, typer.Option(help="Folder of load.json and load.png.")] = Path(
        "bench-output"
    ),
) -> None:
    """Find out how many live sessions a server on this machine carries."""
    counts = [sessions] if sessions else list(range(start, most + 1, step))
    bundle, config = find_bundle(model), ClientConfig("", tuple(chunks_ms), seconds, 0)
    settings: dict[str, Any] = {"workers": workers, "max_wait_ms": max_wait_ms}
    batched = ramp(bundle, counts, config, processes, settings)
    unbatched = None
    if compare:
        unbatched = ramp(bundle, counts, config, processes, settings | {"max_batch": 1})
    ratio = batched.capacity / unbatched.capacity if unbatched and unbatched.capacity else None
    report = LoadReport(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        chunks_ms=config.chunks_ms,
        step_s=seconds,
        batched=batched,
        unbatched=unbatched,
        ratio=ratio,
        definitions=DEFINITIONS,
        versions=package_versions("sotto-codec", "numpy", "onnxruntime", "grpcio"),
        machine=this_machine(),
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "load.json").write_text(
        jsonlib.dumps({"format": LOAD_FORMAT, **asdict(report)}, indent=2) + "\n", encoding="utf-8"
    )
    plot(report, output / "load.png")
    capacity = f"capacity: {batched.capacity} sessions"
    if unbatched is not None:
        capacity += f" batched, {unbatched.capacity} one by one"
    Console().print(f"{capacity}; saved {output}/load.json", highlight=False, markup=False)
    if any(s.failed for r in (batched, unbatched) if r is not None for s in r.steps):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
