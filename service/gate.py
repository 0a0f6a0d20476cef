"""What every call passes before a servicer sees it, and before its messages are read."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from .admission import Kind
from .calls import Calls
from .errors import UnauthenticatedError, status_of
from .peers import authenticate
from .tokens import Tokens

_QUESTIONS: Final = {"ListModels", "GetModel"}
_BOTH_WAYS: Final = "StreamingTranscode"
_OPEN_TO_ALL: Final = "/grpc.health.v1.Health/"


class Gate(grpc.aio.ServerInterceptor):
    """Admits the codec's calls; asks all others but health for a token.

    gRPC would read a unary call's message in full before anyone could refuse it, so these calls are
    handled as streams of one message, which look the same to a client.
    """

    def __init__(self, service: str, calls: Calls, tokens: Tokens | None) -> None:
        self._prefix, self._calls, self._tokens = f"/{service}/", calls, tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, with the gate around it."""
        handler = await continuation(handler_call_details)
        path: str = handler_call_details.method
        if handler is None or path.startswith(_OPEN_TO_ALL):
            return handler
        if path.startswith(self._prefix):
            return self._admitting(handler, path.removeprefix(self._prefix))
        return self._asking(handler, handler_call_details.invocation_metadata)

    def _admitting(self, handler: Any, method: str) -> Any:
        calls, parse = self._calls, _parse_or_error(handler.request_deserializer)
        if handler.request_streaming:
            serve = handler.stream_stream
            ways = Kind.DUPLEX if method == _BOTH_WAYS else Kind.ONE_WAY

            async def stream(requests: Any, context: Any) -> None:
                async with calls.admit(context, method, ways):
                    await serve(requests, context)

            return grpc.stream_stream_rpc_method_handler(stream, parse, handler.response_serializer)
        kind = Kind.QUESTION if method in _QUESTIONS else Kind.UNARY
        answer = handler.unary_unary

        async def unary(_: Any, context: Any) -> Any:
            async with calls.admit(context, method, kind) as call:
                response = await answer(await call.request(), context)
                call.tally.unary(response)
                return response

        return grpc.stream_unary_rpc_method_handler(unary, parse, handler.response_serializer)

    def _asking(self, handler: Any, metadata: Any) -> Any:
        try:
            authenticate(metadata, self._tokens)
        except UnauthenticatedError as error:
            return _refusing(error)
        return handler


def _parse_or_error(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Gives bytes that are no message as the DecodeError they caused.

    gRPC itself would answer UNKNOWN and log a traceback for each.
    """

    def parsed(message: bytes) -> Any:
        try:
            return parse(message)
        except DecodeError as error:
            return error

    return parsed


def _refusing(error: UnauthenticatedError) -> Any:
    """A handler for any kind of call that reads nothing and ends it."""

    async def refuse(_: Any, context: Any) -> None:
        await context.abort(*status_of(error, ""))

    return grpc.stream_stream_rpc_method_handler(refuse)
