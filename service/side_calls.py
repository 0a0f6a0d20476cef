"""Health and reflection: calls that take no session, bounded so that they leave room for those."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from sotto.codec.errors import CodecError

from .admission import full
from .errors import IdleError, ProtocolError
from .parsing import parse_or_error
from .peers import peer_key
from .refusals import refuse

MAX_CHECKS: Final = 8  # that are being answered at once; each takes no time, but a sender may
MAX_WATCHERS: Final = 12  # of health and of reflection together; they may stay
PATIENCE_S: Final = 5.0  # with a client that has to send its message, or to read an answer
_CHECK, _WATCH = "health checks", "health watchers and reflection streams"
_MOST: Final = {_CHECK: MAX_CHECKS, _WATCH: MAX_WATCHERS}
_PEERS: Final = 2  # clients that it takes at the least to have all places of a kind


class SideCalls(grpc.aio.ServerInterceptor):
    """Gives each call a place before any message of it is read, and ends those that dawdle.

    They may need no token, so whoever can connect could otherwise take all calls that the server
    handles at once, or hold the lock under which health is told to its watchers. One client gets
    half of the places at most.
    """

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._peers: Counter[tuple[str, str]] = Counter()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, within bounds."""
        handler = await continuation(handler_call_details)
        return None if handler is None else self.bounded(handler)

    def bounded(self, handler: Any) -> Any:
        """The same for a handler that another interceptor has found."""
        if handler.unary_unary is not None:
            serve = self._answering(handler.unary_unary)
        elif handler.unary_stream is not None:
            serve = self._watching(handler.unary_stream)
        else:
            serve = self._conversing(handler.stream_stream)
        parse = parse_or_error(handler.request_deserializer)
        return grpc.stream_stream_rpc_method_handler(serve, parse, handler.response_serializer)

    def _answering(self, answer: Any) -> Any:
        async def serve(_: Any, context: Any) -> None:
            async with self._admit(context, _CHECK) as patient:
                await patient.write(await answer(await patient.request(), context))

        return serve

    def _watching(self, watch: Any) -> Any:
        async def serve(_: Any, context: Any) -> None:
            async with self._admit(context, _WATCH) as patient:
                await watch(await patient.request(), patient)

        return serve

    def _conversing(self, converse: Any) -> Any:
        async def serve(requests: Any, context: Any) -> None:
            async with self._admit(context, _WATCH) as patient:
                async for response in converse(_sound(requests), context):
                    await patient.write(response)

        return serve

    @asynccontextmanager
    async def _admit(self, context: Any, kind: str) -> AsyncIterator["_Patient"]:
        """Let a call in, and tell the client why it ends; nothing of it is logged."""
        try:
            with self._place(context, kind):
                yield _Patient(context)
        except (CodecError, DecodeError) as error:
            unread = isinstance(error, _UnreadError)
            with self._kept(context, kind) if unread else nullcontext():
                await refuse(context, error, "")

    @contextmanager
    def _place(self, context: Any, kind: str) -> Iterator[None]:
        if self._open[kind] >= _MOST[kind]:
            raise full(f"{_MOST[kind]} {kind} are open, the most at once")
        its_own = _MOST[kind] // _PEERS
        if self._peers[kind, peer_key(context, "")] >= its_own:
            raise full(f"this client has {its_own} {kind} open, the most it may have")
        with self._kept(context, kind):
            yield

    @contextmanager
    def _kept(self, context: Any, kind: str) -> Iterator[None]:
        peer = kind, peer_key(context, "")
        self._open[kind] += 1
        self._peers[peer] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1
            self._peers[peer] -= 1
            self._peers += Counter()  # forgets peers that have none


class _UnreadError(IdleError):
    """The client does not read what is on its way."""


class _Patient:
    """gRPC's side of a call, which waits for its client for a while only."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._begun = False

    async def request(self) -> Any:
        """The only message of the client."""
        message = await _in_time(self._context.read(), IdleError, "sent")
        if message is grpc.aio.EOF:
            raise ProtocolError("the call ended before its message came")
        if isinstance(message, DecodeError):
            raise message
        return message

    async def write(self, message: Any) -> None:
        """Send a message."""
        if not self._begun:  # see `refuse`
            self._begun = True
            await self._context.send_initial_metadata(())
        await _in_time(self._context.write(message), _UnreadError, "read")


async def _in_time(work: Awaitable[Any], failure: type[IdleError], did: str) -> Any:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await work
    except TimeoutError:
        raise failure(f"the client {did} nothing for {PATIENCE_S:g} s") from None


async def _sound(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The messages of a stream, up to one that is none."""
    async for request in requests:
        if isinstance(request, DecodeError):
            raise request
        yield request
