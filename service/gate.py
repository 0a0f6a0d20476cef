"""What every call passes before a servicer sees it, and before its messages are read."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from .admission import Kind
from .calls import Calls
from .errors import UnauthenticatedError
from .parsing import parse_or_error
from .peers import authenticate
from .refusals import refuse
from .side_calls import SideCalls
from .tokens import Tokens

_QUESTIONS: Final = {"ListModels", "GetModel"}
_BOTH_WAYS: Final = "StreamingTranscode"
_OPEN_TO_ALL: Final = "/grpc.health.v1.Health/"


class Gate(grpc.aio.ServerInterceptor):
    """Admits the codec's calls; bounds all others, and asks those but health for a token.

    gRPC would read a unary call's message in full before anyone could refuse it, and would wait
    without end for a client to read the answer, so these calls are handled as streams of one
    message each way, which look the same to a client.
    """

    def __init__(self, service: str, calls: Calls, tokens: Tokens | None) -> None:
        self._prefix, self._calls, self._tokens = f"/{service}/", calls, tokens
        self._side = SideCalls()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a call, with the gate around it."""
        handler = await continuation(handler_call_details)
        path: str = handler_call_details.method
        if handler is None:
            return None
        if path.startswith(self._prefix):
            return self._admitting(handler, path.removeprefix(self._prefix))
        if not path.startswith(_OPEN_TO_ALL):
            try:
                authenticate(handler_call_details.invocation_metadata, self._tokens)
            except UnauthenticatedError as error:
                return _refusing(error)
        return self._side.bounded(handler)

    def _admitting(self, handler: Any, method: str) -> Any:
        calls, parse = self._calls, parse_or_error(handler.request_deserializer)
        if handler.request_streaming:
            serve = handler.stream_stream
            ways = Kind.DUPLEX if method == _BOTH_WAYS else Kind.ONE_WAY

            async def stream(requests: Any, context: Any) -> None:
                async with calls.admit(context, method, ways):
                    await serve(requests, context)

            return grpc.stream_stream_rpc_method_handler(stream, parse, handler.response_serializer)
        kind = Kind.QUESTION if method in _QUESTIONS else Kind.UNARY
        answer = handler.unary_unary

        async def unary(_: Any, context: Any) -> None:
            async with calls.admit(context, method, kind) as call:
                await call.answer(await answer(await call.request(), context))

        return grpc.stream_stream_rpc_method_handler(unary, parse, handler.response_serializer)


def _refusing(error: UnauthenticatedError) -> Any:
    """A handler for any kind of call that reads nothing and ends it."""

    async def ended(_: Any, context: Any) -> None:
        await refuse(context, error, "")

    return grpc.stream_stream_rpc_method_handler(ended)
