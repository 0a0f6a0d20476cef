"""A server in a process of its own: what it weighs while clients stream through it."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from sotto.codec.errors import BackendError, ShapeError
from sotto.service.client import SottoClient

from .clips import Audio

SESSIONS = 8
CHUNK_MS = 20
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
SERVE = """
import json, sys
from sotto.service.server import run
from sotto.service.settings import Settings
run(Settings(**json.loads(sys.argv[1])), on_ready=lambda port: print(port, flush=True))
"""


@dataclass(frozen=True)
class RunningServer:
    """A server that accepts calls.

    Attributes:
        address: HOST:PORT on the loopback interface.
        pid: Its process.
    """

    address: str
    pid: int

    def peak_mb(self) -> float:
        """Most memory the process has held so far (VmHWM), in MB; nan where not known."""
        return self._memory_mb("VmHWM:")

    def resident_mb(self) -> float:
        """Memory the process holds now (VmRSS), in MB; nan where not known."""
        return self._memory_mb("VmRSS:")

    def cpu_s(self) -> float:
        """Processor seconds the process has used; nan where not known."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return math.nan
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user, system

    def _memory_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.pid}/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith(name):
                    return int(line.split()[1]) * 1024 / 1e6
        return math.nan


@dataclass(frozen=True)
class ServerUse:
    """A server under a few streams at once.

    Attributes:
        sessions: Streams at the same time.
        chunk_ms: Milliseconds of audio per message.
        start_mb: Most memory in MB before the first call.
        peak_mb: Most memory in MB in the end.
        times_real_time: Seconds of audio of all streams / seconds until the last had its answer,
            with the clients on the same machine.
    """

    sessions: int
    chunk_ms: int
    start_mb: float
    peak_mb: float
    times_real_time: float


def measure_server(bundle: Path, sample_rate: int, audio: Audio, threads: int = 1) -> ServerUse:
    """Start a server, transcode a clip in several streams at once, and stop it.

    Args:
        bundle: Folder of the model.
        sample_rate: Hz of the clip.
        audio: float32 [S].
        threads: Threads of the server's runtime.

    Raises:
        BackendError: The server did not start.
        RemoteError: A call failed.
        ShapeError: A stream came back with another length.
    """
    with running_server(bundle, threads=threads) as server, SottoClient(server.address) as client:
        start_mb = server.peak_mb()
        start = time.perf_counter()
        with ThreadPoolExecutor(SESSIONS) as pool:
            streams = [pool.submit(_transcode, client, audio, sample_rate) for _ in range(SESSIONS)]
        work_s = time.perf_counter() - start
        for stream in streams:
            if stream.result() != audio.size:
                raise ShapeError(f"{audio.size} samples came back as {stream.result()}")
        real_time = SESSIONS * audio.size / sample_rate / work_s
        return ServerUse(SESSIONS, CHUNK_MS, start_mb, server.peak_mb(), real_time)


@contextmanager
def running_server(bundle: Path, **chosen: Any) -> Iterator[RunningServer]:
    """A server of one model on a free loopback port, stopped at the end of the block.

    Args:
        bundle: Folder of the model.
        chosen: Further settings.

    Raises:
        BackendError: It did not start; the message has the end of its log.
    """
    settings = {"address": "127.0.0.1:0", "models": [str(bundle)], **chosen}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(settings)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            port = _read_port(process)
            if port is None:
                log.seek(0)
                raise BackendError(f"the server did not start: {log.read()[-2000:].strip()}")
            yield RunningServer(f"127.0.0.1:{port}", process.pid)
        finally:
            _stop(process)


def _read_port(process: subprocess.Popen[str]) -> int | None:
    """The port that the server prints once it is ready; None if it ends or takes too long."""
    assert process.stdout is not None
    deadline = Timer(START_TIMEOUT_S, process.kill)
    deadline.start()
    try:
        line = process.stdout.readline()
    finally:
        deadline.cancel()
    return int(line) if line else None


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _transcode(client: SottoClient, audio: Audio, sample_rate: int) -> int:
    """Send a clip [S] in small pieces; give the number of samples that came back."""
    step = sample_rate * CHUNK_MS // 1000
    chunks = (audio[start : start + step] for start in range(0, audio.size, step))
    with client.stream_transcode(chunks, sample_rate) as stream:
        return sum(part.shape[-1] for part in stream)
