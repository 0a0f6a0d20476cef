"""Health alone on a plain port, for probes that cannot speak TLS."""

from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sotto.codec.errors import ConfigError

from .errors import RemoteError
from .side_calls import SideCalls

_MAX_MESSAGE_BYTES: Final = 4096
_MAX_CALLS: Final = 64


class HealthPort:
    """A second gRPC server with nothing but `grpc.health.v1`.

    Attributes:
        port: The port it listens on.
    """

    def __init__(self, servicer: Any, address: str) -> None:
        """Prepare to answer what `servicer` knows on HOST:PORT.

        Raises:
            ConfigError: It cannot be listened on.
        """
        self._server = grpc.aio.server(
            interceptors=[SideCalls()],
            options=[
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(
                f"health_address '{address}' cannot be listened on: expected a free HOST:PORT "
                f"({error})"
            ) from error

    async def start(self) -> None:
        """Answer."""
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Stop answering; watchers get `grace_s` seconds."""
        await self._server.stop(grace_s)


def check(channel: grpc.Channel, service: str, timeout_s: float) -> str:
    """Ask a server for the health of a service, or of all with an empty name.

    Returns:
        status: "SERVING" or "NOT_SERVING".

    Raises:
        RemoteError: It cannot be reached, or does not know the service.
    """
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        response = stub.Check(request, timeout=timeout_s)
    except grpc.RpcError as error:
        failed: Any = error
        raise RemoteError(failed.code(), failed.details() or "") from None
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
