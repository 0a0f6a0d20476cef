"""Adds live callers to a server, step by step, until speech comes late."""

import json as jsonlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from .load_client import BUCKETS, ClientConfig, argument
from .server import RunningServer, running_server

LIMIT_MS: Final = 100.0


@dataclass(frozen=True)
class Step:
    """One number of sessions.

    Attributes:
        sessions: Duplex sessions at once.
        p50_ms: Median of the added delay.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        results: Pieces of audio that were measured.
        heard_s: Seconds of audio in them.
        failed: Sessions that ended with an error.
        why: The first of those errors.
        server_cpu: Cores the server used.
        client_cpu: Cores the clients used.
        server_ms_per_s: Processor milliseconds of the server for a second of duplex audio.
        memory_mb: Resident memory of the server.
    """

    sessions: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    results: int
    heard_s: float
    failed: int
    why: str
    server_cpu: float
    client_cpu: float
    server_ms_per_s: float
    memory_mb: float


@dataclass(frozen=True)
class Ramp:
    """One server under more and more sessions.

    Attributes:
        settings: Of the server, beside its defaults.
        capacity: Most sessions that were served in time, none of which failed.
        unfinished: Sessions that could not hang up properly in the end.
        steps: In the order they were run.
    """

    settings: dict[str, Any]
    capacity: int
    unfinished: int
    steps: tuple[Step, ...]


class ClientProcess:
    """A process of clients."""

    def __init__(self, config: ClientConfig) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sotto.bench.load_client", argument(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str) -> None:
        """Tell it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What that came to."""
        assert self._process.stdout is not None
        found: dict[str, Any] = jsonlib.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def _clients(config: ClientConfig, count: int) -> Iterator[list[ClientProcess]]:
    clients = [ClientProcess(replace(config, seed=i)) for i in range(count)]
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
    on_step: Callable[[Step], None],
) -> Ramp:
    """Serve with `settings` and add sessions until delay or errors end it.

    Args:
        bundle: Folder of the model.
        counts: Sessions of each step.
        config: Of the clients; their address is filled in.
        processes: Processes of clients.
        settings: Of the server.
        on_step: Is told of each step when it is over.
    """
    steps: list[Step] = []
    with (
        running_server(bundle, **settings, max_sessions=max(counts)) as server,
        _clients(replace(config, address=server.address), processes) as clients,
    ):
        for sessions in counts:
            steps.append(_step(server, clients, sessions))
            on_step(steps[-1])
            if steps[-1].p99_ms > LIMIT_MS or steps[-1].failed:
                break
        ends = _ask(clients, ["finish"] * processes)
    good = [s.sessions for s in steps if s.p99_ms <= LIMIT_MS and not s.failed]
    return Ramp(settings, max(good, default=0), sum(e["failed"] for e in ends), tuple(steps))


def _ask(clients: list[ClientProcess], commands: list[str]) -> list[dict[str, Any]]:
    for client, command in zip(clients, commands, strict=True):
        client.ask(command)
    return [client.answer() for client in clients]


def _step(server: RunningServer, clients: list[ClientProcess], sessions: int) -> Step:
    n = len(clients)
    _ask(clients, [f"have {sessions // n + (i < sessions % n)}" for i in range(n)])
    begun, cpu_s = time.perf_counter(), server.cpu_s()
    answers = _ask(clients, ["measure"] * n)
    seconds, used_s = time.perf_counter() - begun, server.cpu_s() - cpu_s
    counts = np.zeros(BUCKETS)
    for answer in answers:
        counts[answer["ms"]] += answer["counts"]
    shares = np.cumsum(counts) / max(1.0, counts.sum())
    p50, p95, p99 = (float(np.searchsorted(shares, q) + 1) for q in (0.5, 0.95, 0.99))
    heard_s = sum(answer["heard_s"] for answer in answers)
    return Step(
        sessions=sessions,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        results=int(counts.sum()),
        heard_s=heard_s,
        failed=sum(answer["failed"] for answer in answers),
        why=next((answer["why"] for answer in answers if answer["why"]), ""),
        server_cpu=used_s / seconds,
        client_cpu=sum(answer["cpu_s"] for answer in answers) / seconds,
        server_ms_per_s=1000 * used_s / heard_s if heard_s else 0.0,
        memory_mb=server.resident_mb(),
    )
