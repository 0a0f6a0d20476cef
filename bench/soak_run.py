"""Lets callers come, go and be killed for a while, and watches the server meanwhile."""

import json as jsonlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from .server import RunningServer, running_server
from .soak_client import SoakConfig, argument, write_expected

_SAMPLE_S: Final = 1.0
_END_S: Final = 60.0  # for the last calls to be over


@dataclass(frozen=True)
class Sample:
    """The server at one moment.

    Attributes:
        second: Since the start.
        memory_mb: Resident memory.
        open: Calls in progress.
    """

    second: float
    memory_mb: float
    open: int


@dataclass
class Soak:
    """What happened.

    Attributes:
        samples: The server while callers came and went.
        calls: Calls that hung up politely and were checked.
        rude: Calls that hung up in the middle of a word.
        killed: Processes that were killed, with all their calls.
        errors: What went wrong in calls, by how often.
        left_open: Calls in progress after the last caller was gone.
        unaccounted: Calls that were opened and are neither over nor in progress.
        statuses: Ends of calls as the server counted them.
    """

    samples: list[Sample] = field(default_factory=list)
    calls: int = 0
    rude: int = 0
    killed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    left_open: int = -1
    unaccounted: int = -1
    statuses: dict[str, int] = field(default_factory=dict)


class _Process:
    """A process of callers whose reports are read in a thread."""

    def __init__(self, config: SoakConfig, on_report: Callable[[str], None]) -> None:
        command = [sys.executable, "-m", "sotto.bench.soak_client", argument(config)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(on_report,))
        self._reader.start()

    def _read(self, on_report: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            on_report(line)

    def end(self, *, kill: bool = False) -> int:
        """Let its calls end, or kill it; gives its exit status."""
        assert self._process.stdin is not None
        if kill:
            self._process.kill()
        self._process.stdin.close()
        status = self._process.wait(_END_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


def soak(
    bundle: Path,
    seconds: float,
    *,
    callers: int,
    processes: int,
    kill_every_s: tuple[float, float],
    seed: int = 0,
    on_sample: Callable[[Sample], None] = lambda _: None,
) -> Soak:
    """Serve `bundle` for so many seconds.

    Args:
        bundle: Folder of the model.
        seconds: Until the last callers hang up.
        callers: Duplex callers at the same time.
        processes: That they are spread over.
        kill_every_s: Shortest and longest time between two kills.
        seed: Of all random choices.
        on_sample: Is told how the server is, about once a second.
    """
    found, lock, chance = Soak(), threading.Lock(), random.Random(seed)

    def on_report(line: str) -> None:
        with lock:
            _count(found, jsonlib.loads(line))

    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / "expected.npz"
        write_expected(bundle, expected)
        metrics = f"127.0.0.1:{_free_port()}"
        with running_server(bundle, max_sessions=2 * callers, metrics_address=metrics) as server:
            each = -(-callers // processes)
            config = SoakConfig(server.address, each, str(bundle), str(expected), seed)
            crowd = [_Process(replace(config, seed=seed + i), on_report) for i in range(processes)]
            begun = time.monotonic()
            next_kill = chance.uniform(*kill_every_s)
            try:
                while (second := time.monotonic() - begun) < seconds:
                    if second >= next_kill:
                        victim = chance.randrange(processes)
                        crowd[victim].end(kill=True)
                        found.killed += 1
                        again = replace(config, seed=seed + processes + found.killed)
                        crowd[victim] = _Process(again, on_report)
                        next_kill = second + chance.uniform(*kill_every_s)
                    found.samples.append(_sample(server, metrics, second))
                    on_sample(found.samples[-1])
                    time.sleep(_SAMPLE_S)
            finally:
                for process in crowd:
                    if status := process.end():
                        found.errors[f"a process of callers ended with {status}"] += 1
            _account(found, metrics)
    return found


def _count(found: Soak, report: dict[str, object]) -> None:
    if report["rude"]:
        found.rude += 1
    elif report["error"]:
        found.errors[str(report["error"])] += 1
    else:
        found.calls += 1


def _sample(server: RunningServer, metrics: str, second: float) -> Sample:
    return Sample(second, server.resident_mb(), _total(_scrape(metrics), "sotto_sessions_open"))


def _account(found: Soak, metrics: str) -> None:
    """Wait until no call is open, and see whether each that was opened is over."""
    deadline = time.monotonic() + _END_S
    while _total(_scrape(metrics), "sotto_sessions_open") and time.monotonic() < deadline:
        time.sleep(_SAMPLE_S)
    values = _scrape(metrics)
    found.left_open = _total(values, "sotto_sessions_open")
    refused = _total(values, "sotto_sessions_refused_total")
    over = _total(values, "sotto_calls_total") - refused
    found.unaccounted = _total(values, "sotto_sessions_opened_total") - over - found.left_open
    for (name, labels), value in values.items():
        if name == "sotto_calls_total":
            code = dict(labels)["code"]
            found.statuses[code] = found.statuses.get(code, 0) + int(value)


Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _scrape(metrics: str) -> Values:
    with urlopen(f"http://{metrics}/metrics", timeout=30) as response:
        text = response.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _total(values: Values, name: str) -> int:
    return int(sum(value for (found, _), value in values.items() if found == name))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
