"""Start, serve, drain, stop."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sotto.codec.errors import ConfigError
from sotto.proto.v1.codec_pb2_grpc import add_SpeechCodecServicer_to_server

from .addresses import is_loopback
from .call import SERVICE
from .calls import Calls
from .engine import Engine
from .gate import Gate
from .health_port import HealthPort
from .logs import LogWriter
from .loop import new_event_loop
from .metrics import Metrics, MetricsPort
from .models import Models
from .print_config import unknown_variables
from .resume_tokens import TokenSealer, read_key
from .servicer import SpeechCodecServicer
from .session_log import SessionLog
from .settings import Settings, load_settings
from .tls import server_credentials
from .tokens import Tokens
from .worker import Worker

logger = logging.getLogger(__name__)
SPARE_CALLS: Final = 32  # calls beyond the sessions: health, reflection, refusals under way
_SWITCH_INTERVAL_S: Final = 1e-4  # as Python counts it: how long a thread keeps the interpreter
_ABORT_S: Final = 1.0  # for the last words to calls that were ended


class Server:
    """The gRPC server with health, reflection and metrics.

    Attributes:
        port: The port it listens on, once started.
        health_port: The plain one for health alone; 0 without.
        metrics_port: The one of the metrics; 0 without.
        metrics: What it counts.
    """

    def __init__(self, settings: Settings, models: Models | None = None) -> None:
        """Prepare a server.

        Args:
            settings: Address and limits.
            models: What to serve; by default what the settings name.

        Raises:
            CodecError: A model, a certificate or the tokens cannot be loaded.
        """
        self._settings = settings
        self._credentials = server_credentials(settings)
        self._tokens = None if settings.tokens is None else Tokens(settings.tokens)
        self._models = models or Models.load(settings)
        self._worker = Worker(settings.workers)
        self.metrics = Metrics()
        self._engine = Engine(self._models, settings, self._worker, self.metrics)
        self._sealer = TokenSealer(read_key(settings.resume_key_file))
        self._calls = Calls(settings, self._worker, (self.metrics, SessionLog()), self._tokens)
        self._health_port: HealthPort | None = None
        self._metrics_port: MetricsPort | None = None
        self.port = self.health_port = self.metrics_port = 0

    @property
    def sessions(self) -> int:
        """Calls in progress."""
        return len(self._calls)

    async def start(self) -> int:
        """Listen; give the port.

        Raises:
            ConfigError: The address cannot be listened on.
        """
        settings = self._settings
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=[Gate(SERVICE, self._calls, self._tokens)],
            options=_options(settings),
            maximum_concurrent_rpcs=2 * settings.max_sessions + SPARE_CALLS,
        )
        servicer = SpeechCodecServicer(
            self._models, settings, self._calls, self._engine, self._sealer
        )
        add_SpeechCodecServicer_to_server(servicer, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [SERVICE, health.SERVICE_NAME]
        if settings.reflection:
            names.append(reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self._named = ["", *names]
        self.port = self._listen()
        await self._open_side_ports()
        await self._server.start()
        for name in self._named:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self.port

    def _listen(self) -> int:
        address = self._settings.address
        try:
            if self._credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on '{address}': expected a free HOST:PORT ({error})"
            ) from error

    async def _open_side_ports(self) -> None:
        if self._settings.health_address:
            self._health_port = HealthPort(self._health, self._settings.health_address)
            self.health_port = self._health_port.port
            await self._health_port.start()
        if self._settings.metrics_address:
            self._metrics_port = MetricsPort(self.metrics, self._settings.metrics_address)
            self.metrics_port = self._metrics_port.port

    async def stop(self, grace_s: float | None = None) -> None:
        """Report NOT_SERVING, refuse new calls, let those in progress finish, then stop.

        Args:
            grace_s: How long to wait for them; by default what the settings say.
        """
        telling = await self._tell_not_serving()
        await self._calls.drain(self._settings.drain_grace_s if grace_s is None else grace_s)
        await self._server.stop(_ABORT_S)
        for task in telling:
            task.cancel()
        self._engine.close()
        if self._health_port is not None:
            await self._health_port.stop(_ABORT_S)
        if self._metrics_port is not None:
            self._metrics_port.close()
        self._worker.close()

    async def _tell_not_serving(self) -> set[asyncio.Task[None]]:
        """Turn the health of each service; gives what a watcher who does not read still holds up."""
        telling = [
            asyncio.create_task(self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING))
            for name in self._named
        ]
        _, late = await asyncio.wait(telling, timeout=_ABORT_S)
        if late:
            logger.warning("a health watcher does not read; it will see NOT_SERVING late or never")
        return late


def _options(settings: Settings) -> list[tuple[str, int]]:
    keepalive_timeout_ms = round(settings.keepalive_timeout_s * 1000)
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes + 4096),  # and its totals
        ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message stays small
        ("grpc.http2.bdp_probe", 0),  # or a window grows to megabytes: a stream's queue is ours
        ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server on it
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", round(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", keepalive_timeout_ms),
        ("grpc.http2.ping_timeout_ms", keepalive_timeout_ms),  # by default a minute, and it decides
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # the pings of an idle connection go on
    ]


async def serve(
    settings: Settings,
    on_ready: Callable[[int], None] | None = None,
    log: LogWriter | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: Address and limits.
        on_ready: Called with the port once the server accepts calls.
        log: Whose lost lines the metrics show.

    Raises:
        CodecError: A model cannot be loaded, or the address not be listened on.
    """
    server = Server(settings)
    if log is not None:
        server.metrics.watch_log(log)
    port = await server.start()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    logger.info("serving %s on port %d", ", ".join(settings.models), port)
    _warn(settings)
    if on_ready is not None:
        on_ready(port)
    await stopping.wait()
    logger.info("draining")
    await server.stop()
    logger.info("stopped")


def _warn(settings: Settings) -> None:
    """Say what an operator may not have meant."""
    for problem in unknown_variables():
        logger.warning("%s", problem)
    if settings.tls_cert is None and not is_loopback(settings.address):
        logger.warning("no TLS on %s: audio and tokens can be read on the way", settings.address)


def run(
    settings: Settings | None = None,
    on_ready: Callable[[int], None] | None = None,
    log: LogWriter | None = None,
) -> None:
    """Serve from a plain program, as `serve`; returns after a clean drain.

    Threads that come back from a step of a model need the interpreter for a moment only, and would
    wait for it up to its switch interval, 5 ms by default, while calls keep the event loop busy.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(settings or load_settings(), on_ready, log))
