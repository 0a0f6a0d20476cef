"""Ends a call: with a status, or without one where its client reads nothing."""

import asyncio
from typing import Any

from .errors import OverloadedError, status_of
from .rich_status import Metadata, retry_details


async def refuse(context: Any, error: Exception, request_id: str, metadata: Metadata = ()) -> None:
    """End a call with what the table of errors says.

    Raises:
        AbortError: gRPC's own, always.
    """
    code, details = status_of(error, request_id)
    if isinstance(error, OverloadedError):
        metadata += retry_details(code, details, error.retry_after_s)
    await context.abort(code, details, metadata)


async def until_gone() -> None:
    """Wait for gRPC to cancel the call, since its connection has ended or the server stops.

    That is how a call ends whose client does not read: a status cannot overtake the message that
    is on its way, and gRPC keeps both for as long as the connection lives.
    """
    await asyncio.Event().wait()
