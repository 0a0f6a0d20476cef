"""One call: its place among the others, its limits, its messages in order, its errors."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from time import perf_counter
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError

from .errors import (
    REQUEST_ID_KEY,
    DrainingError,
    IdleError,
    LimitError,
    NotConfiguredError,
    ProtocolError,
    status_of,
)
from .settings import Settings
from .worker import Worker

T = TypeVar("T")
logger = logging.getLogger(__name__)
CONFIG_FIELD: Final = "streaming_config"


class Call:
    """One call in progress.

    Attributes:
        request_id: Its name in the log.
        busy_s: Seconds of work so far.
    """

    def __init__(self, context: Any, worker: Worker, idle_timeout_s: float) -> None:
        self._context, self._worker, self._idle_timeout_s = context, worker, idle_timeout_s
        self.request_id = secrets.token_hex(8)
        self.busy_s = 0.0

    async def work(self, step: Callable[..., T], *args: Any) -> T:
        """Do `step(*args)` in a worker thread."""

        def timed() -> T:
            start = perf_counter()
            try:
                return step(*args)
            finally:
                self.busy_s += perf_counter() - start

        return await self._worker.run(timed)

    async def config(self) -> Any:
        """Read the first message of a stream and give its configuration.

        Raises:
            NotConfiguredError: It holds payload.
            ProtocolError: It is empty, or there is none.
        """
        message = await self._read()
        if message is None:
            raise ProtocolError("the stream ended before its configuration came")
        field = message.WhichOneof("request")
        if field is None:
            raise ProtocolError(f"the first message is empty; expected {CONFIG_FIELD}")
        if field != CONFIG_FIELD:
            raise NotConfiguredError(f"{field} came first; expected {CONFIG_FIELD}")
        return message.streaming_config

    async def payloads(self) -> AsyncIterator[Any]:
        """Read the later messages of a stream and give their payload, until the client is done.

        Raises:
            ProtocolError: One is empty or holds another configuration.
            IdleError: None came for too long.
        """
        while (message := await self._read()) is not None:
            field = message.WhichOneof("request")
            if field is None:
                raise ProtocolError("a message is empty; expected payload")
            if field == CONFIG_FIELD:
                raise ProtocolError(f"{CONFIG_FIELD} came again; it belongs in the first message")
            yield getattr(message, field)

    async def write(self, message: Any) -> None:
        """Send a response, as fast as the client reads.

        Raises:
            IdleError: The client read nothing for too long.
        """
        await self._in_time(self._context.write(message), "read")

    async def _read(self) -> Any:
        message = await self._in_time(self._context.read(), "sent")
        if isinstance(message, DecodeError):  # what the server's interceptor makes of garbage
            raise message
        return None if message is grpc.aio.EOF else message

    async def _in_time(self, operation: Awaitable[T], did: str) -> T:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await operation
        except TimeoutError:
            raise IdleError(f"the client {did} nothing for {self._idle_timeout_s:g} s") from None


class Calls:
    """All calls in progress: admits them, ends those that last too long, and drains."""

    def __init__(self, settings: Settings, worker: Worker) -> None:
        self._settings, self._worker = settings, worker
        self._deadlines: set[asyncio.Timeout] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._deadlines)

    @asynccontextmanager
    async def open(
        self, context: Any, request: Any = None, *, takes_session: bool = True
    ) -> AsyncIterator[Call]:
        """Admit a call, and turn whatever is raised inside into its gRPC status.

        Args:
            context: gRPC's side of the call.
            request: Of a unary call; may be the error that reading it caused.
            takes_session: Whether it counts as one of the sessions and is bounded in time.
        """
        call = Call(context, self._worker, self._settings.idle_timeout_s)
        try:
            if self._draining:
                raise _draining()
            if isinstance(request, DecodeError):
                raise request
            async with self._session() if takes_session else nullcontext():
                yield call
        except Exception as error:
            await self._refuse(context, call.request_id, error)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[None]:
        if len(self._deadlines) >= self._settings.max_sessions:
            raise LimitError(f"all {self._settings.max_sessions} sessions are taken; try later")
        deadline = asyncio.timeout(self._settings.max_session_s)
        self._deadlines.add(deadline)
        self._empty.clear()
        try:
            async with deadline:
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            raise self._reason() from None
        finally:
            self._deadlines.discard(deadline)
            if not self._deadlines:
                self._empty.set()

    def _reason(self) -> Exception:
        if self._draining:
            return _draining()
        return LimitError(f"the call is over {self._settings.max_session_s:g} s, the limit here")

    async def _refuse(self, context: Any, request_id: str, error: Exception) -> None:
        if context.cancelled():
            raise error
        code, details = status_of(error, request_id)
        if code is grpc.StatusCode.INTERNAL:
            logger.error("call %s failed", request_id, exc_info=error)
        await context.abort(code, details, ((REQUEST_ID_KEY, request_id),))

    async def drain(self, grace_s: float) -> None:
        """Admit no more calls; wait `grace_s` seconds for those in progress, then end them."""
        self._draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("ending %d calls that outlast the grace of %g s", len(self), grace_s)
            for deadline in self._deadlines:
                if not deadline.expired():
                    deadline.reschedule(asyncio.get_running_loop().time())
            await self._empty.wait()


def _draining() -> DrainingError:
    return DrainingError("the server is shutting down; try another one")
