"""The Python client: numpy in, numpy out; `AsyncSottoClient` is the same for asyncio."""

from collections.abc import Iterable
from typing import Any, Self, Unpack

import grpc

from sotto.codec.info import ModelInfo
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc

from . import client_messages as messages
from .async_client import AsyncSottoClient
from .async_stream import AsyncStream
from .channel import open_channel
from .client_resume import Rate, Resume
from .client_streams import decoding, encoding, transcoding
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
from .plain_stream import Stream

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
