"""What a client has sent and no one has worked off yet: bounded, and handed out together."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self

from .errors import LimitError

Item = tuple[str, Any]
_LEAST_S: Final = 0.02  # what a message counts at least: empty ones are bounded too


class Inbox:
    """Reads a stream's messages ahead while its frames are being coded; use in `async with`.

    Reading stops while more than `max_queued_s` seconds of audio wait, so that HTTP/2 flow control
    holds the client back. A stream that fell behind gets all that waits at once, and so catches up
    in fewer and larger steps.
    """

    def __init__(
        self, source: AsyncIterator[Item], seconds: Callable[[str, Any], float], max_queued_s: float
    ) -> None:
        """Read `source`; `seconds` tells how much audio one of its items holds."""
        self._source, self._seconds, self._max_queued_s = source, seconds, max_queued_s
        self._items: deque[Item] = deque()
        self._queued_s = 0.0
        self._ended = False
        self._failure: Exception | None = None
        self._arrived, self._room = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def batches(self) -> AsyncIterator[list[Item]]:
        """All that waits, again and again, until the client is done.

        Raises:
            LimitError: One message holds more audio than may wait.
            Exception: Whatever the source raised, once all before it was handed out.
        """
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            items, ended = [*self._items], self._ended
            self._items.clear()
            self._queued_s = 0.0
            self._room.set()
            if items:
                yield items
            if ended:
                break
        if self._failure is not None:
            raise self._failure

    async def _read(self) -> None:
        try:
            async for item in self._source:
                seconds = self._seconds(*item)
                if seconds > self._max_queued_s:
                    raise LimitError(
                        f"a message of {seconds:.1f} s of audio; this server takes at most "
                        f"{self._max_queued_s:g} s in one: send shorter ones"
                    )
                self._items.append(item)
                self._queued_s += max(seconds, _LEAST_S)
                self._arrived.set()
                while self._queued_s >= self._max_queued_s:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # belongs to the one who takes the items
            self._failure = error
        self._ended = True
        self._arrived.set()
