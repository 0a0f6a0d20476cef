"""The results of a streaming call, as a plain iterator; a lost call is begun again where it was."""

from collections.abc import Callable, Iterable, Iterator
from threading import Event, Lock
from typing import Any, Final, Generic, Self, TypeVar

import grpc

from . import client_messages as messages
from .client_resume import Journal, Resume, is_lost, pieces
from .client_streams import Responses, StreamPlan
from .client_types import StreamInfo, Totals

T = TypeVar("T")


class Stream(Generic[T]):
    """The results of a streaming call, as they come; leaving its `with` block ends the call.

    What is sent is taken from the caller's iterable in a thread of its own, no faster than the
    server reads; what that iterable raises is raised here. With `Resume` a call that was lost is
    begun again where it was.
    """

    def __init__(
        self,
        start: Callable[..., Any],
        plan: StreamPlan[T],
        items: Iterable[Any],
        resume: Resume | None,
    ) -> None:
        self._start, self._plan, self._resume = start, plan, resume
        self._items = (part for item in items for part in pieces(item, plan.longest))
        self._journal = Journal(resume, plan.units_per_s)
        self._taking = Lock()  # of the caller's items: the thread of a lost call may still wait
        self._responses = Responses(plan, self._journal)
        self._failure: Exception | None = None
        self._attempt = 0
        self._cancelled = Event()
        self._begin()

    def _begin(self) -> None:
        started = Event()
        self._call = self._start(self._requests(*self._journal.begin(), started))
        started.set()

    @property
    def info(self) -> StreamInfo:
        """The call as the server understood it; waits for its acknowledgement.

        Raises:
            RemoteError: The server refused the configuration.
        """
        if self._responses.info is None:
            self._responses.take(self._receive())
        assert self._responses.info is not None
        return self._responses.info

    @property
    def totals(self) -> Totals | None:
        """What the call came to, once its last result was taken."""
        return self._responses.totals

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """The next result.

        Raises:
            RemoteError: The server ended the call with an error.
        """
        while (result := self._responses.take(self._receive())) is None:
            pass
        return result

    def cancel(self) -> None:
        """End the call now; harmless if it is over."""
        self._cancelled.set()
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def _requests(self, token: bytes, number: int, started: Event) -> Iterator[Any]:
        yield self._plan.first(token)
        try:
            while self._has(number) and (found := self._journal.item(number)) is not None:
                item, ask = found
                yield self._plan.request(item)
                if ask:
                    yield self._plan.state_request
                number += 1
        except Exception as error:
            self._failure = self._failure or error
            started.wait()
            self._call.cancel()

    def _has(self, number: int) -> bool:
        """Whether there is an item of that number; takes it from the caller if it is new."""
        with self._taking:
            if self._failure is not None:  # a lost call met it; the items only seem to end
                raise self._failure
            if not self._journal.has(number):
                try:
                    item = next(self._items, _END)
                except Exception as error:
                    self._failure = error
                    raise
                if item is _END:
                    return False
                self._journal.add(item)
            return True

    def _receive(self) -> Any:
        while True:
            try:
                response = next(self._call)
                self._attempt = 0
                return response
            except grpc.RpcError as error:
                if self._failure is not None:
                    raise self._failure from None
                self._again(error)

    def _again(self, error: grpc.RpcError) -> None:
        """Begin the call anew, or raise what ended it."""
        failed = messages.remote_error(error)
        resume = self._resume
        lost = is_lost(failed) and not self._cancelled.is_set()
        if resume is None or not lost or self._attempt >= resume.attempts:
            raise failed from None
        if self._cancelled.wait(resume.wait_s(self._attempt)):
            raise failed from None
        self._attempt += 1
        self._begin()
        if self._cancelled.is_set():  # meanwhile, by another thread
            self._call.cancel()


_END: Final = object()
