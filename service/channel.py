"""How a client reaches a server: plain or TLS, with or without a token."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from sotto.codec.errors import ConfigError

from .addresses import is_loopback
from .tokens import SCHEME

Options = Sequence[tuple[str, Any]]


def tls(
    ca: Path | None = None, cert: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials:
    """Credentials from PEM files.

    Args:
        ca: Authorities that the server's certificate must come from; by default the usual ones.
        cert: The client's own certificate and its chain, if the server asks for one.
        key: Its private key.

    Raises:
        ConfigError: A file cannot be read, or one of `cert` and `key` is missing.
    """
    if (cert is None) != (key is None):
        raise ConfigError("a client certificate needs its key, and a key its certificate")
    try:
        ca_pem, key_pem, cert_pem = (
            None if path is None else path.read_bytes() for path in (ca, key, cert)
        )
    except OSError as error:
        raise ConfigError(f"TLS: {error}") from error
    return grpc.ssl_channel_credentials(ca_pem, key_pem, cert_pem)


def open_channel(
    address: str, options: Options, credentials: grpc.ChannelCredentials | None, token: str | None
) -> Any:
    """A channel for stubs.

    Args:
        address: HOST:PORT.
        options: Of gRPC.
        credentials: From `tls`; None is a plain connection.
        token: Sent with every call; None is none.

    Raises:
        ConfigError: The token would leave this machine in the clear.
    """
    return _open(grpc, address, options, credentials, token)


def open_async_channel(
    address: str, options: Options, credentials: grpc.ChannelCredentials | None, token: str | None
) -> Any:
    """`open_channel` for asyncio."""
    return _open(grpc.aio, address, options, credentials, token)


def _open(
    module: Any,
    address: str,
    options: Options,
    credentials: grpc.ChannelCredentials | None,
    token: str | None,
) -> Any:
    if credentials is None:
        if token is not None and not is_loopback(address):
            raise ConfigError(f"a token must not go to {address} in the clear; use TLS")
        channel = module.insecure_channel(address, options=options)
    else:
        channel = module.secure_channel(address, credentials, options=options)
    return channel if token is None else _WithToken(channel, token)


class _WithToken:
    """A channel whose calls carry a token; gRPC's call credentials refuse plain connections."""

    def __init__(self, channel: Any, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"{SCHEME}{token}"),)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return self._adding(self._channel.unary_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        return self._adding(self._channel.stream_stream(*args, **kwargs))

    def close(self) -> Any:
        return self._channel.close()

    def _adding(self, start: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, metadata: Sequence[Any] | None = None, **kwargs: Any) -> Any:
            return start(*args, metadata=(*(metadata or ()), *self._metadata), **kwargs)

        return call
