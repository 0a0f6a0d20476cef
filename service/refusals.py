"""Ends a call with the status that belongs to an error."""

import asyncio
from typing import Any

import grpc

from .errors import OverloadedError, status_of
from .rich_status import Metadata, retry_details


async def refuse(context: Any, error: Exception, request_id: str, metadata: Metadata = ()) -> None:
    """End a call with what the table of errors says.

    A status cannot overtake a message: where the client does not read one that is on its way, this
    waits until it does, its connection ends or the server stops. gRPC's answers must have begun by
    `send_initial_metadata` then, since it would not take a second beginning.

    Raises:
        AbortError: gRPC's own, once the client was told.
        CancelledError: Its connection ended before that.
    """
    code, details = status_of(error, request_id)
    if isinstance(error, OverloadedError):
        metadata += retry_details(code, details, error.retry_after_s)
    try:
        await context.abort(code, details, metadata)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
