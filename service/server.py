"""Start, serve, drain, stop."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sotto.codec.errors import ConfigError
from sotto.proto.v1 import codec_pb2
from sotto.proto.v1.codec_pb2_grpc import add_SpeechCodecServicer_to_server

from .call import Calls
from .models import Models
from .servicer import SpeechCodecServicer
from .settings import Settings, load_settings
from .worker import Worker

logger = logging.getLogger(__name__)
SERVICE: Final = codec_pb2.DESCRIPTOR.services_by_name["SpeechCodec"].full_name
_SPARE_CALLS: Final = 64  # calls beyond the sessions: health, reflection, refusals under way
_ABORT_S: Final = 1.0  # for the last words to calls that were ended


class _MalformedMessages(grpc.aio.ServerInterceptor):
    """Hands bytes that are no message to our handlers as the DecodeError they caused.

    gRPC itself would answer UNKNOWN and log a traceback for each.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(f"/{SERVICE}/"):
            return handler
        parse = handler.request_deserializer

        def parse_or_error(message: bytes) -> Any:
            try:
                return parse(message)
            except DecodeError as error:
                return error

        return handler._replace(request_deserializer=parse_or_error)


class Server:
    """The gRPC server with health and reflection.

    Attributes:
        port: The port it listens on, once started.
    """

    def __init__(self, settings: Settings, models: Models | None = None) -> None:
        """Prepare a server.

        Args:
            settings: Address and limits.
            models: What to serve; by default what the settings name.

        Raises:
            CodecError: A model cannot be loaded.
        """
        self._settings = settings
        self._models = models or Models.load(settings)
        self._worker = Worker(settings.workers)
        self._calls = Calls(settings, self._worker)
        self.port = 0

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
            interceptors=[_MalformedMessages()],
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_sessions + _SPARE_CALLS,
        )
        servicer = SpeechCodecServicer(self._models, settings, self._calls)
        add_SpeechCodecServicer_to_server(servicer, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(settings.address)
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on '{settings.address}': expected a free HOST:PORT ({error})"
            ) from error
        await self._server.start()
        for name in names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self.port

    async def stop(self, grace_s: float | None = None) -> None:
        """Report NOT_SERVING, refuse new calls, let those in progress finish, then stop.

        Args:
            grace_s: How long to wait for them; by default what the settings say.
        """
        try:
            async with asyncio.timeout(_ABORT_S):  # a watcher that does not read must not stop us
                await self._health.enter_graceful_shutdown()
        except TimeoutError:
            logger.warning("a health watcher does not read; it will not see NOT_SERVING")
        await self._calls.drain(self._settings.drain_grace_s if grace_s is None else grace_s)
        await self._server.stop(_ABORT_S)
        self._worker.close()


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes + 4096),  # and its totals
        ("grpc.compression_enabled_algorithms_bitset", 1),  # none: a small message stays small
        ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server on it
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


async def serve(settings: Settings, on_ready: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: Address and limits.
        on_ready: Called with the port once the server accepts calls.

    Raises:
        CodecError: A model cannot be loaded, or the address not be listened on.
    """
    server = Server(settings)
    port = await server.start()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    logger.info("serving %s on port %d", ", ".join(settings.models), port)
    if on_ready is not None:
        on_ready(port)
    await stopping.wait()
    logger.info("draining")
    await server.stop()


def run(settings: Settings | None = None, on_ready: Callable[[int], None] | None = None) -> None:
    """Serve from a plain program, as `serve`; returns after a clean drain."""
    asyncio.run(serve(settings or load_settings(), on_ready))
