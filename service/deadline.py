"""When a call has to end and why: one timer a call watches its client, not one a message."""

import asyncio
from math import inf
from typing import Final, Self

from .errors import IdleError

READ: Final = 0  # the client has to read what is being written
SENT: Final = 1  # the client has to send what is being read
_DID: Final = ("read", "sent")


class Deadline:
    """Ends the block it is around, with an error that says why; use in `async with`.

    Whoever waits for the client calls `wait` before and `go_on` after, which cost next to nothing.
    """

    def __init__(self, idle_timeout_s: float) -> None:
        """End the block when the client does nothing that is waited for, for so many seconds."""
        self._idle_timeout_s = idle_timeout_s
        self._since = [inf, inf]  # when a wait began, by what the client has to do
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._reason: Exception | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._look: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._look_at(self._loop.time() + self._idle_timeout_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: object, trace: object
    ) -> None:
        for timer in (self._look, *self._timers):
            if timer is not None:
                timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)  # type: ignore[arg-type]
        except TimeoutError:
            assert self._reason is not None
            raise self._reason from None

    def wait(self, what: int) -> None:
        """From here on the client has to do it: `READ` or `SENT`."""
        self._since[what] = self._loop.time()

    def go_on(self, what: int) -> None:
        """It did."""
        self._since[what] = inf

    def waits(self, what: int) -> bool:
        """Whether the client still has to do it; in the end, whether it never did."""
        return self._since[what] < inf

    def end(self, reason: Exception) -> None:
        """End the block with `reason`, unless it is ending already."""
        if self._reason is None:
            self._reason = reason
            self._timeout.reschedule(self._loop.time())

    def end_after(self, seconds: float, reason: Exception) -> None:
        """End the block in so many seconds, however busy its client is."""
        self._timers.append(self._loop.call_later(seconds, self.end, reason))

    def _look_at(self, when: float) -> None:
        self._look = self._loop.call_at(when, self._check)

    def _check(self) -> None:
        since, now = min(self._since), self._loop.time()
        if since + self._idle_timeout_s <= now:
            did = _DID[self._since.index(since)]
            self.end(IdleError(f"the client {did} nothing for {self._idle_timeout_s:g} s"))
        else:
            self._look_at(min(since, now) + self._idle_timeout_s)
