"""Ends a call with a status, or without one if its client does not read even that."""

import asyncio
from typing import Any, Final

import grpc

from .errors import OverloadedError, status_of
from .rich_status import Metadata, retry_details

GIVE_UP_S: Final = 1.0


async def refuse(context: Any, error: Exception, request_id: str, metadata: Metadata = ()) -> None:
    """End a call with what the table of errors says; does not return.

    Raises:
        AbortError: gRPC's own, once the client was told.
        CancelledError: The client reads nothing, so that it cannot be told; the call is over here,
            and gRPC keeps the message that it did not read until its connection ends.
    """
    code, details = status_of(error, request_id)
    if isinstance(error, OverloadedError):
        metadata += retry_details(code, details, error.retry_after_s)
    try:
        async with asyncio.timeout(GIVE_UP_S):
            await context.abort(code, details, metadata)
    except (TimeoutError, grpc.aio.InternalError):  # a message before it is still on its way
        raise asyncio.CancelledError from None
