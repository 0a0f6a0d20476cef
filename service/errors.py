"""What can go wrong with a call, and the one table from exception to gRPC status."""

from typing import Final

import grpc
from google.protobuf.message import DecodeError

from sotto.codec.errors import (
    AudioError,
    BitstreamError,
    CodecError,
    CodesError,
    ConfigError,
    ModelNotFoundError,
    ShapeError,
)


class ProtocolError(CodecError, ValueError):
    """A message that does not belong where it came in the stream."""


class NotConfiguredError(ProtocolError):
    """Payload came before the configuration."""


class ResumeError(ProtocolError):
    """A resume token that is not ours, was changed, or belongs to another stream's settings."""


class LimitError(CodecError, RuntimeError):
    """The call is too large or too long, or the server is full."""


class OverloadedError(LimitError):
    """The server has no room for the call now; later, or elsewhere, it may be taken.

    Attributes:
        retry_after_s: How long a client should wait before it tries again.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnauthenticatedError(CodecError, RuntimeError):
    """The call carries no token, or one that is not known here."""


class IdleError(CodecError, RuntimeError):
    """The client neither sent nor read anything for too long."""


class DrainingError(CodecError, RuntimeError):
    """The server is shutting down."""


class RemoteError(CodecError):
    """A call that the server refused or could not finish, seen from the client.

    Attributes:
        code: The gRPC status, for example ``grpc.StatusCode.NOT_FOUND``.
        details: What the server said.
        request_id: Name of the call in the server's log; empty if the call never got there.
        retry_after_s: How long the server asks to wait before another try; None if it did not.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        details: str,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code.name}: {details}")
        self.retry_after_s = retry_after_s
        self.code = code
        self.details = details
        self.request_id = request_id


REQUEST_ID_KEY: Final = "sotto-request-id"  # trailing metadata of every call that failed
_MAX_DETAILS: Final = 1000  # status details travel in a header, and headers are small

# The first line that fits decides, so an exception stands above its bases.
_STATUS: Final[tuple[tuple[type[Exception], grpc.StatusCode], ...]] = (
    (DecodeError, grpc.StatusCode.INVALID_ARGUMENT),  # bytes that are no protobuf message
    (NotConfiguredError, grpc.StatusCode.FAILED_PRECONDITION),
    (ProtocolError, grpc.StatusCode.INVALID_ARGUMENT),
    (ModelNotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConfigError, grpc.StatusCode.INVALID_ARGUMENT),
    (ShapeError, grpc.StatusCode.INVALID_ARGUMENT),
    (AudioError, grpc.StatusCode.INVALID_ARGUMENT),
    (CodesError, grpc.StatusCode.INVALID_ARGUMENT),
    (BitstreamError, grpc.StatusCode.INVALID_ARGUMENT),  # IdentityError too
    (LimitError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (IdleError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (DrainingError, grpc.StatusCode.UNAVAILABLE),
)


def status_of(error: Exception, request_id: str) -> tuple[grpc.StatusCode, str]:
    """Status and details that a client gets to see.

    An exception that is not in the table is the server's own fault: the client learns nothing but
    the id under which the log has the traceback.
    """
    for kind, code in _STATUS:
        if isinstance(error, kind):
            return code, _clip(str(error))
    return grpc.StatusCode.INTERNAL, f"internal error; the server's log has it as {request_id}"


def _clip(text: str) -> str:
    return text if len(text) <= _MAX_DETAILS else f"{text[:_MAX_DETAILS]} …"
