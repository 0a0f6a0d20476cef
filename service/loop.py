"""The event loop of a server: uvloop where it is installed, which costs less for each message."""

import asyncio

try:
    import uvloop
except ModuleNotFoundError:  # there is none for Windows
    uvloop = None  # type: ignore[assignment]


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of the fastest kind there is."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()
