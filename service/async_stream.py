"""The results of a streaming call, for asyncio; a lost call is begun again where it was."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, Generic, Self, TypeVar

import grpc

from . import client_messages as messages
from .client_resume import Journal, Resume, is_lost, pieces
from .client_streams import Responses, StreamPlan
from .client_types import StreamInfo, Totals

T = TypeVar("T")
Items = AsyncIterable[T] | Iterable[T]


class AsyncStream(Generic[T]):
    """The results of a streaming call, as they come; leaving its `async with` block ends the call.

    What is sent is taken from the caller's iterable no faster than the server reads; what that
    iterable raises is raised here. A plain iterable is asked on the event loop, so it must not wait
    for anything. The call begins with the first thing that is awaited.
    """

    def __init__(
        self,
        start: Callable[..., Any],
        plan: Callable[[], Awaitable[StreamPlan[T]]],
        items: Items[Any],
        resume: Resume | None,
    ) -> None:
        self._start, self._make_plan, self._resume = start, plan, resume
        self._items = _each(items)
        self._taking: asyncio.Task[Any] | None = None
        self._responses: Responses[T] | None = None
        self._failure: Exception | None = None
        self._attempt = 0
        self._cancelled = False
        self._call: Any = None
        self._turn = asyncio.Lock()  # one at a time begins the call and reads from it

    async def info(self) -> StreamInfo:
        """The call as the server understood it; waits for its acknowledgement.

        Raises:
            RemoteError: The server refused the configuration.
        """
        async with self._turn:
            responses = await self._begin()
            if responses.info is None:
                responses.take(await self._receive())
        assert responses.info is not None
        return responses.info

    @property
    def totals(self) -> Totals | None:
        """What the call came to, once its last result was taken."""
        return None if self._responses is None else self._responses.totals

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """The next result.

        Raises:
            RemoteError: The server ended the call with an error.
        """
        while True:
            async with self._turn:
                responses = await self._begin()
                result = responses.take(await self._receive())
            if result is not None:
                return result

    def cancel(self) -> None:
        """End the call now; harmless if it is over."""
        self._cancelled = True
        if self._taking is not None:
            self._taking.cancel()
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    async def _begin(self) -> Responses[T]:
        if self._responses is None:
            self._plan = await self._make_plan()
            self._journal = Journal(self._resume, self._plan.units_per_s)
            self._responses = Responses(self._plan, self._journal)
            self._open()
        return self._responses

    def _open(self) -> None:
        self._call = self._start(self._requests(*self._journal.begin()))

    async def _requests(self, token: bytes, number: int) -> AsyncIterator[Any]:
        yield self._plan.first(token)
        try:
            while await self._has(number) and (found := self._journal.item(number)) is not None:
                item, ask = found
                yield self._plan.request(item)
                if ask:
                    yield self._plan.state_request
                number += 1
        except Exception as error:
            self._failure = error
            self._call.cancel()

    async def _has(self, number: int) -> bool:
        """Whether there is an item of that number; takes it from the caller if it is new.

        gRPC cancels whoever waits here when a call is lost, and the caller's iterator must not
        notice: it is asked in a task of its own, whose answer the next call gets.
        """
        while not self._journal.has(number):
            if self._taking is None:
                self._taking = asyncio.create_task(self._take())
            taking = self._taking
            more = await asyncio.shield(taking)
            if self._taking is taking:
                self._taking = None
            if not more:
                return False
        return True

    async def _take(self) -> bool:
        item = await anext(self._items, _END)
        if item is _END:
            return False
        for part in pieces(item, self._plan.longest):
            self._journal.add(part)
        return True

    async def _receive(self) -> Any:
        while True:
            try:
                response = await self._call.read()
            except grpc.RpcError as error:
                await self._again(error)
                continue
            except BaseException:  # a cancelled call ends as CancelledError
                if self._failure is not None:
                    raise self._failure from None
                raise
            self._attempt = 0
            if response is grpc.aio.EOF:
                raise StopAsyncIteration
            return response

    async def _again(self, error: grpc.RpcError) -> None:
        """Begin the call anew, or raise what ended it."""
        failed, resume = messages.remote_error(error), self._resume
        lost = is_lost(failed) and not self._cancelled
        if resume is None or not lost or self._attempt >= resume.attempts:
            raise failed from None
        await asyncio.sleep(resume.wait_s(self._attempt))
        if self._cancelled:  # meanwhile, by another task
            raise failed from None
        self._attempt += 1
        self._open()


_END: Final = object()


async def _each(items: Items[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
