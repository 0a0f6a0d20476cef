"""The Python client: numpy in, numpy out; `AsyncSottoClient` is the same for asyncio."""

from collections.abc import Callable, Iterable, Iterator
from threading import Event, Lock
from typing import Any, Final, Generic, Self, TypeVar, Unpack

import grpc

from sotto.codec.info import ModelInfo
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc

from . import client_messages as messages
from .async_client import AsyncSottoClient, AsyncStream
from .channel import open_channel
from .client_resume import Journal, Rate, Resume, is_lost, pieces
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
    "Rate",
    "RemoteError",
    "Resume",
    "SottoClient",
    "Stream",
    "StreamInfo",
    "Totals",
]

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
            while self._has(number):
                item, ask = self._journal.item(number)
                yield self._plan.request(item)
                if ask:
                    yield self._plan.state_request
                number += 1
        except Exception as error:
            self._failure = error
            started.wait()
            self._call.cancel()

    def _has(self, number: int) -> bool:
        """Whether there is an item of that number; takes it from the caller if it is new."""
        with self._taking:
            if not self._journal.has(number):
                item = next(self._items, _END)
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
        self._cancelled.wait(resume.wait_s(self._attempt))
        self._attempt += 1
        self._begin()


_END: Final = object()


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
        size = self._info(options).codebook_size
        request = messages.decode_request(codes, size, options)
        return messages.decoded(self._unary(self._stub.Decode, request))

    def stream_encode(
        self,
        chunks: Iterable[Audio | Rate],
        sample_rate: int,
        *,
        channels: int = 1,
        resume: Resume | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Stream[Packet]:
        """Send chunks of audio of any length as they come; iterate over the packets of codes.

        A `Rate` between two chunks sets another number of books.
        """
        plan = encoding(sample_rate, channels, options)
        return Stream(self._stub.StreamingEncode, plan, chunks, resume)

    def stream_decode(
        self,
        packets: Iterable[Packet | Codes],
        *,
        channels: int = 1,
        resume: Resume | None = None,
        **options: Unpack[DecodeOptions],
    ) -> Stream[Audio]:
        """Send packets of codes, of any depth, as they come; iterate over the audio."""
        plan = decoding(channels, self._info(options), options)
        return Stream(self._stub.StreamingDecode, plan, packets, resume)

    def stream_transcode(
        self,
        chunks: Iterable[Audio | Rate],
        sample_rate: int,
        *,
        channels: int = 1,
        resume: Resume | None = None,
        **options: Unpack[TranscodeOptions],
    ) -> Stream[Audio]:
        """Send chunks of audio; iterate over the audio that a listener would hear."""
        plan = transcoding(sample_rate, channels, options)
        return Stream(self._stub.StreamingTranscode, plan, chunks, resume)

    def _info(self, options: DecodeOptions) -> ModelInfo:
        name = options.get("model", "")
        return self._known.get(name) or self.get_model(name)

    def _unary(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise messages.remote_error(error) from None
