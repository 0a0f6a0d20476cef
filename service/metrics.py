"""Prometheus metrics: what the server does, on an HTTP port of its own."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from sotto.codec.errors import ConfigError

from .addresses import split_address
from .logs import LogWriter
from .report import CallReport

FRAME_S: Final = 0.02
_FRAMES: Final = (0.25, 0.5, 1, 2, 3, 4, 5, 8, 16, 32, 64)  # 5 are 100 ms, the delay we promise
DELAY_BUCKETS: Final = tuple(round(FRAME_S * frames, 3) for frames in _FRAMES)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
DURATION_BUCKETS: Final = (0.1, 1, 10, 60, 600, 3600, 14_400)


class Metrics:
    """Counts calls, audio and steps; a `CallObserver` and a `StepObserver`.

    Each server has a registry of its own, so that two in one process do not mix.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def make(kind: Any, name: str, text: str, labels: str = "", **more: Any) -> Any:
            return kind(f"sotto_{name}", text, labels.split(), registry=self.registry, **more)

        self._open = make(Gauge, "sessions_open", "Calls in progress.", "method")
        self._opened = make(Counter, "sessions_opened", "Calls that were admitted.", "method")
        self._refused = make(
            Counter, "sessions_refused", "Calls that were not admitted, by status.", "method code"
        )
        self._calls = make(Counter, "calls", "Calls that are over, by status.", "method code")
        self._duration = make(
            Histogram, "session_seconds", "Length of calls.", "method", buckets=DURATION_BUCKETS
        )

        def often(*args: Any, **more: Any) -> Any:
            """Children by label, remembered: looking one up costs more than counting."""
            return cache(make(*args, **more).labels)

        self._audio_in = often(Counter, "audio_in_seconds", "Audio received.", "method")
        self._audio_out = often(Counter, "audio_out_seconds", "Audio sent.", "method")
        self._step = often(
            Histogram, "step_seconds", "One run of a graph.", "graph", buckets=DELAY_BUCKETS
        )
        self._wait = often(
            Histogram,
            "queue_wait_seconds",
            "From frames that are ready to the step that takes them.",
            "graph",
            buckets=DELAY_BUCKETS,
        )
        self._batch = often(
            Histogram, "batch_size", "Streams in one step.", "graph", buckets=BATCH_BUCKETS
        )
        self._frames = often(Counter, "frames", "Frames of all streams in all steps.", "graph")

    def opened(self, method: str) -> None:
        """A call was admitted."""
        self._open.labels(method).inc()
        self._opened.labels(method).inc()

    def audio_in(self, method: str, seconds: float) -> None:
        """Audio came."""
        self._audio_in(method).inc(seconds)

    def audio_out(self, method: str, seconds: float) -> None:
        """Audio was sent."""
        self._audio_out(method).inc(seconds)

    def closed(self, report: CallReport) -> None:
        """A call is over, or was never admitted."""
        self._calls.labels(report.method, report.status).inc()
        if report.admitted:
            self._open.labels(report.method).dec()
            self._duration.labels(report.method).observe(report.duration_s)
        else:
            self._refused.labels(report.method, report.status).inc()

    def step(
        self, graph: str, batch: int, frames: int, seconds: float, waits: Sequence[float]
    ) -> None:
        """One run of a graph.

        Args:
            graph: Its model and its name, such as "speech-24khz/encoder".
            batch: Streams in it.
            frames: Frames of each.
            seconds: How long it took.
            waits: Seconds that each piece of work in it had waited.
        """
        self._step(graph).observe(seconds)
        self._batch(graph).observe(batch)
        self._frames(graph).inc(batch * frames)
        wait = self._wait(graph)
        for waited in waits:
            wait.observe(waited)

    def watch_log(self, log: LogWriter) -> None:
        """Show how many lines of the log were lost."""
        gauge = Gauge(
            "sotto_log_lines_lost",
            "Lines that could not be written, or were too many.",
            registry=self.registry,
        )
        gauge.set_function(lambda: log.lost)


class MetricsPort:
    """`/metrics` over HTTP, in threads of its own.

    Attributes:
        port: The port it listens on.
    """

    def __init__(self, metrics: Metrics, address: str) -> None:
        """Listen on HOST:PORT.

        Raises:
            ConfigError: It cannot be listened on.
        """
        host, port = split_address(address)
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except OSError as error:
            raise ConfigError(
                f"metrics_address '{address}' cannot be listened on: expected a free HOST:PORT "
                f"({error})"
            ) from error
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
