"""One call: its messages in order, its limits, what it has moved."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError

from sotto.proto.v1 import codec_pb2

from .deadline import READ, SENT, Deadline
from .errors import NotConfiguredError, ProtocolError
from .report import CallObserver
from .tally import Tally
from .tracing import trace_context
from .worker import Worker

T = TypeVar("T")
SERVICE: Final = codec_pb2.DESCRIPTOR.services_by_name["SpeechCodec"].full_name
CONFIG_FIELD: Final = "streaming_config"


class Call:
    """One call in progress.

    Attributes:
        method: For example "StreamingEncode".
        request_id: Its name in the log.
        client: Name of its token; empty without one.
        tally: What it has moved so far.
        trace: The caller's place in a trace.
    """

    def __init__(
        self,
        context: Any,
        method: str,
        worker: Worker,
        deadline: Deadline,
        observers: Sequence[CallObserver] = (),
    ) -> None:
        self._context, self._worker, self._deadline = context, worker, deadline
        self._begun = False
        self.method = method
        self.request_id = secrets.token_hex(8)
        self.client = ""
        self.tally = Tally(method, observers)
        self.trace = trace_context(context.invocation_metadata())

    @property
    def unread(self) -> bool:
        """Whether a message is on its way that the client does not read."""
        return self._deadline.waits(READ)

    async def work(self, step: Callable[..., T], *args: Any) -> T:
        """Do `step(*args)` in a worker thread."""
        return await self._worker.run(lambda: step(*args))

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
        self.tally.configured(message.streaming_config)
        return message.streaming_config

    async def payloads(self) -> AsyncIterator[tuple[str, Any]]:
        """Read the later messages of a stream until the client is done: field and payload of each.

        Raises:
            ProtocolError: One is empty or holds another configuration.
        """
        while (message := await self._read()) is not None:
            field = message.WhichOneof("request")
            if field is None:
                raise ProtocolError("a message is empty; expected payload")
            if field == CONFIG_FIELD:
                raise ProtocolError(f"{CONFIG_FIELD} came again; it belongs in the first message")
            payload = getattr(message, field)
            self.tally.received(field, payload)
            yield field, payload

    async def request(self) -> Any:
        """Read the only message of a unary call, or the DecodeError that its bytes caused.

        Raises:
            ProtocolError: There is none.
        """
        message = await self._next()
        if message is grpc.aio.EOF:
            raise ProtocolError("the call ended before its message came")
        return message

    async def write(self, message: Any) -> None:
        """Send a response of a stream, as fast as the client reads.

        The deadline of the call ends one that does not.
        """
        await self._send(message)
        self.tally.sent(message)

    async def answer(self, message: Any) -> None:
        """Send the only response of a unary call, as `write` does."""
        await self._send(message)
        self.tally.unary(message)

    async def _send(self, message: Any) -> None:
        if not self._begun:  # see `refuse`
            self._begun = True
            await self._context.send_initial_metadata(())
        self._deadline.wait(READ)
        await self._context.write(message)
        self._deadline.go_on(READ)

    async def _read(self) -> Any:
        message = await self._next()
        if isinstance(message, DecodeError):  # what the gate makes of garbage
            raise message
        return None if message is grpc.aio.EOF else message

    async def _next(self) -> Any:
        self._deadline.wait(SENT)
        message = await self._context.read()
        self._deadline.go_on(SENT)
        return message
