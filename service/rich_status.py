"""The details that travel beside a status: `google.rpc.RetryInfo`, in binary metadata."""

from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

Metadata = tuple[tuple[str, str | bytes], ...]
_DETAILS_KEY: Final = "grpc-status-details-bin"


def retry_details(code: grpc.StatusCode, details: str, retry_after_s: float) -> Metadata:
    """Metadata that asks the client to wait `retry_after_s` seconds before it tries again."""
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
    packed = AnyMessage()
    packed.Pack(retry)
    status = status_pb2.Status(code=code.value[0], message=details, details=[packed])
    return tuple(rpc_status.to_status(status).trailing_metadata)


def retry_after_s(metadata: Any) -> float | None:
    """What `retry_details` asked for, out of a failed call's trailing metadata; None if nothing."""
    content = dict(metadata or ()).get(_DETAILS_KEY)
    retry = error_details_pb2.RetryInfo()
    try:
        status = status_pb2.Status.FromString(content or b"")
    except DecodeError:  # another server, or a proxy, wrote something of its own
        return None
    for detail in status.details:
        if detail.Unpack(retry):
            return float(retry.retry_delay.ToNanoseconds() / 1e9)
    return None
