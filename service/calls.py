"""All calls in progress: who is let in, what is said of those that fail, and how they end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from .admission import Admission, Kind
from .call import SERVICE, Call
from .deadline import Deadline
from .errors import (
    REQUEST_ID_KEY,
    DrainingError,
    LimitError,
    status_of,
)
from .peers import authenticate, peer_address, peer_key
from .refusals import refuse
from .report import CallObserver, CallReport
from .settings import Settings
from .tokens import Tokens
from .tracing import span
from .worker import Worker

logger = logging.getLogger(__name__)
_LEFT: Final = (grpc.StatusCode.CANCELLED, "")  # unless something else is known: the client left


class _Ending:
    """How a call ended, as far as is known."""

    def __init__(self) -> None:
        self.code, self.details = _LEFT
        self.admitted = False


class Calls:
    """Admits calls, ends those that last too long, reports on each, and drains."""

    def __init__(
        self,
        settings: Settings,
        worker: Worker,
        observers: Sequence[CallObserver] = (),
        tokens: Tokens | None = None,
    ) -> None:
        self._settings, self._worker = settings, worker
        self._observers, self._tokens = observers, tokens
        self._admission = Admission(settings)
        self._admitted: dict[Any, Call] = {}
        self._deadlines: set[Deadline] = set()
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._deadlines)

    @asynccontextmanager
    async def admit(self, context: Any, method: str, kind: Kind) -> AsyncIterator[Call]:
        """Let a call in, before any message of it is read.

        Whatever is raised inside becomes its gRPC status, and its report goes to the observers. A
        client that does not read keeps its place, as it keeps memory, until it does or is gone.
        """
        deadline = Deadline(self._settings.idle_timeout_s)
        call = Call(context, method, self._worker, deadline, self._observers)
        start, ending = perf_counter(), _Ending()
        failure: Exception | None = None
        try:
            async with self._place(context, call, kind, deadline):
                ending.admitted = True
                self._tell_opened(call)
                yield call
            ending.code = grpc.StatusCode.OK
        except Exception as error:
            if context.cancelled():
                raise
            failure = error
            self._note(call, error, ending)
        finally:
            self._tell_closed(context, call, ending, perf_counter() - start)
        if failure is not None:
            with self._kept(context, call, kind) if call.unread else nullcontext():
                metadata = ((REQUEST_ID_KEY, call.request_id),)
                await refuse(context, failure, call.request_id, metadata)

    @asynccontextmanager
    async def open(self, context: Any, request: Any = None) -> AsyncIterator[Call]:
        """Take up the call that was admitted.

        Args:
            context: gRPC's side of the call.
            request: Of a unary call; may be the error that reading it caused.
        """
        if isinstance(request, DecodeError):
            raise request
        yield self._admitted[context]

    @asynccontextmanager
    async def _place(
        self, context: Any, call: Call, kind: Kind, deadline: Deadline
    ) -> AsyncIterator[None]:
        metadata = context.invocation_metadata()
        call.client = authenticate(metadata, self._tokens)
        if self._draining:
            raise _draining()
        with (
            self._admission.place(kind, peer_key(context, call.client)),
            span(SERVICE, call.method, metadata, request_id=call.request_id),
        ):
            self._admitted[context] = call
            try:
                async with deadline:
                    with nullcontext() if kind is Kind.QUESTION else self._session(deadline):
                        yield
            finally:
                del self._admitted[context]

    @contextmanager
    def _session(self, deadline: Deadline) -> Iterator[None]:
        """Count a session, of limited length, that a drain waits for."""
        longest_s = self._settings.max_session_s
        over = LimitError(f"the call is over {longest_s:g} s, the limit here")
        deadline.end_after(longest_s, over)
        self._deadlines.add(deadline)
        self._empty.clear()
        try:
            yield
        finally:
            self._deadlines.discard(deadline)
            if not self._deadlines:
                self._empty.set()

    def _kept(self, context: Any, call: Call, kind: Kind) -> AbstractContextManager[None]:
        return self._admission.kept(kind, peer_key(context, call.client))

    @staticmethod
    def _note(call: Call, error: Exception, ending: _Ending) -> None:
        ending.code, ending.details = status_of(error, call.request_id)
        if ending.code is grpc.StatusCode.INTERNAL:
            logger.error("call %s failed", call.request_id, exc_info=error)

    def _tell_opened(self, call: Call) -> None:
        for observer in self._observers:
            observer.opened(call.method)

    def _tell_closed(self, context: Any, call: Call, ending: _Ending, duration_s: float) -> None:
        report = CallReport(
            request_id=call.request_id,
            method=call.method,
            peer=peer_address(context),
            client=call.client,
            model=call.tally.model,
            audio_in_s=call.tally.audio_in_s,
            audio_out_s=call.tally.audio_out_s,
            frames=call.tally.frames,
            duration_s=duration_s,
            status=ending.code.name,
            admitted=ending.admitted,
            details=ending.details,
            trace_id=call.trace.trace_id,
            span_id=call.trace.span_id,
        )
        for observer in self._observers:
            observer.closed(report)

    async def drain(self, grace_s: float) -> None:
        """Admit no more calls; wait `grace_s` seconds for those in progress, then end them."""
        self._draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("ending %d calls that outlast the grace of %g s", len(self), grace_s)
            for deadline in self._deadlines:
                deadline.end(_draining())
            await self._empty.wait()


def _draining() -> DrainingError:
    return DrainingError("the server is shutting down; try another one")
