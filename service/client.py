"""The Python client: numpy in, numpy out; `AsyncSottoClient` is the same for asyncio."""

from collections.abc import Callable, Iterable, Iterator
from threading import Event
from typing import Any, Generic, Self, TypeVar, Unpack

import grpc

from sotto.codec.info import ModelInfo
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc

from . import client_messages as messages
from .async_client import AsyncSottoClient, AsyncStream
from .channel import open_channel
from .client_streams import Responses, StreamPlan, decoding, encoding, transcoding
from .client_types import (
    DEFAULT_ADDRESS,
    Audio,
    Codes,
    Decoded,
    DecodeOptions,
    Encoded,
    EncodeOptions,
    Packet,
    StreamInfo,
    Totals,
    TranscodeOptions,
)
from .errors import RemoteError
from .messages import model_info

__all__ = [
    "AsyncSottoClient",
    "AsyncStream",
    "Decoded",
    "Encoded",
    "Packet",
    "RemoteError",
    "SottoClient",
    "Stream",
    "StreamInfo",
    "Totals",
]

T = TypeVar("T")


class Stream(Generic[T]):
    """The results of a streaming call, as they come; leaving its `with` block ends the call.

    What is sent is taken from the caller's iterable in a thread of its own, no faster than the
    server reads; what that iterable raises is raised here.
    """

    def __init__(
        self, start: Callable[[Iterator[Any]], Any], plan: StreamPlan[T], items: Iterable[Any]
    ) -> None:
        self._responses = Responses(plan)
        self._failure: Exception | None = None
        self._started = Event()
        self._call = start(self._requests(plan, items))
        self._started.set()

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
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def _requests(self, plan: StreamPlan[T], items: Iterable[Any]) -> Iterator[Any]:
        yield plan.first
        try:
            for item in items:
                yield plan.request(item)
        except Exception as error:
            self._failure = error
            self._started.wait()
            self._call.cancel()

    def _receive(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            if self._failure is not None:
                raise self._failure from None
            raise messages.remote_error(error) from None


class SottoClient:
    """Calls a Sotto server; close it, or use it in a `with` block. Threads may share it.

    Audio is float32 [C, S], or [S] for one channel; codes are int64 [C, K, T]. Every call raises
    `RemoteError` with the gRPC status if the server refuses it or cannot be reached.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 60.0,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
    ) -> None:
        """Prepare to call HOST:PORT; unary calls end after `timeout_s`, streams have no limit.

        `credentials` come from `sotto.service.channel.tls`; a `token` goes with every call.
        """
        self._channel = open_channel(address, messages.CHANNEL_OPTIONS, credentials, token)
        self._stub: Any = codec_pb2_grpc.SpeechCodecStub(self._channel)  # type: ignore[no-untyped-call]
        self._timeout_s = timeout_s
        self._known: dict[str, ModelInfo] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all calls and the connection."""
        self._channel.close()

    def list_models(self) -> list[ModelInfo]:
        """The server's models, the default one first."""
        response = self._unary(self._stub.ListModels, pb.ListModelsRequest())
        return [model_info(model) for model in response.models]

    def get_model(self, model: str = "") -> ModelInfo:
        """One model by name; the default one for an empty name."""
        response = self._unary(self._stub.GetModel, pb.GetModelRequest(model=model))
        self._known[model] = model_info(response)
        return self._known[model]

    def encode(self, audio: Audio, sample_rate: int, **options: Unpack[EncodeOptions]) -> Encoded:
        """Encode a recording in one message; `EncodeOptions` says what `options` may be."""
        request = messages.encode_request(audio, sample_rate, options)
        return messages.encoded(self._unary(self._stub.Encode, request))

    def decode(self, codes: Codes, **options: Unpack[DecodeOptions]) -> Decoded:
        """Decode a recording in one message; `DecodeOptions` says what `options` may be."""
        size = self._codebook_size(options)
        request = messages.decode_request(codes, size, options)
        return messages.decoded(self._unary(self._stub.Decode, request))

    def stream_encode(
        self,
        chunks: Iterable[Audio],
        sample_rate: int,
        *,
        channels: int = 1,
        **options: Unpack[EncodeOptions],
    ) -> Stream[Packet]:
        """Send chunks of audio of any length as they come; iterate over the packets of codes."""
        plan = encoding(sample_rate, channels, options)
        return Stream(self._stub.StreamingEncode, plan, chunks)

    def stream_decode(
        self,
        packets: Iterable[Packet | Codes],
        *,
        channels: int = 1,
        **options: Unpack[DecodeOptions],
    ) -> Stream[Audio]:
        """Send packets of codes, of any depth, as they come; iterate over the audio."""
        plan = decoding(channels, self._codebook_size(options), options)
        return Stream(self._stub.StreamingDecode, plan, packets)

    def stream_transcode(
        self,
        chunks: Iterable[Audio],
        sample_rate: int,
        *,
        channels: int = 1,
        **options: Unpack[TranscodeOptions],
    ) -> Stream[Audio]:
        """Send chunks of audio; iterate over the audio that a listener would hear."""
        plan = transcoding(sample_rate, channels, options)
        return Stream(self._stub.StreamingTranscode, plan, chunks)

    def _codebook_size(self, options: DecodeOptions) -> int:
        name = options.get("model", "")
        return (self._known.get(name) or self.get_model(name)).codebook_size

    def _unary(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise messages.remote_error(error) from None
