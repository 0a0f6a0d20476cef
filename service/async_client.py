"""The Python client for asyncio; `sotto.service.client` offers it beside the plain one."""

from typing import Any, Self, Unpack

import grpc

from sotto.codec.info import ModelInfo
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc

from . import client_messages as messages
from .async_stream import AsyncStream, Items
from .channel import open_async_channel
from .client_resume import Rate, Resume
from .client_streams import StreamPlan, decoding, encoding, transcoding
from .client_types import (
    DEFAULT_ADDRESS,
    Audio,
    Codes,
    Decoded,
    DecodeOptions,
    Encoded,
    EncodeOptions,
    Packet,
    TranscodeOptions,
)
from .messages import model_info


class AsyncSottoClient:
    """`SottoClient` for asyncio: the same calls and results, awaited or iterated over.

    Close it, or use it in an `async with` block.
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
        self._channel = open_async_channel(address, messages.CHANNEL_OPTIONS, credentials, token)
        self._stub: Any = codec_pb2_grpc.SpeechCodecStub(self._channel)  # type: ignore[no-untyped-call]
        self._timeout_s = timeout_s
        self._known: dict[str, ModelInfo] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls and the connection."""
        await self._channel.close()

    async def list_models(self) -> list[ModelInfo]:
        """The server's models, the default one first."""
        response = await self._unary(self._stub.ListModels, pb.ListModelsRequest())
        return [model_info(model) for model in response.models]

    async def get_model(self, model: str = "") -> ModelInfo:
        """One model by name; the default one for an empty name."""
        response = await self._unary(self._stub.GetModel, pb.GetModelRequest(model=model))
        self._known[model] = model_info(response)
        return self._known[model]

    async def encode(
        self, audio: Audio, sample_rate: int, **options: Unpack[EncodeOptions]
    ) -> Encoded:
        """Encode a recording in one message; `EncodeOptions` says what `options` may be."""
        request = messages.encode_request(audio, sample_rate, options)
        return messages.encoded(await self._unary(self._stub.Encode, request))

    async def decode(self, codes: Codes, **options: Unpack[DecodeOptions]) -> Decoded:
        """Decode a recording in one message; `DecodeOptions` says what `options` may be."""
        size = (await self._info(options)).codebook_size
        request = messages.decode_request(codes, size, options)
        return messages.decoded(await self._unary(self._stub.Decode, request))

    def stream_encode(
        self,
        chunks: Items[Audio | Rate],
        sample_rate: int,
        *,
        channels: int = 1,
        resume: Resume | None = None,
        **options: Unpack[EncodeOptions],
    ) -> AsyncStream[Packet]:
        """Send chunks of audio of any length as they come; iterate over the packets of codes.

        A `Rate` between two chunks sets another number of books.
        """

        async def plan() -> StreamPlan[Packet]:
            return encoding(sample_rate, channels, options)

        return AsyncStream(self._stub.StreamingEncode, plan, chunks, resume)

    def stream_decode(
        self,
        packets: Items[Packet | Codes],
        *,
        channels: int = 1,
        resume: Resume | None = None,
        **options: Unpack[DecodeOptions],
    ) -> AsyncStream[Audio]:
        """Send packets of codes, of any depth, as they come; iterate over the audio."""

        async def plan() -> StreamPlan[Audio]:
            return decoding(channels, await self._info(options), options)

        return AsyncStream(self._stub.StreamingDecode, plan, packets, resume)

    def stream_transcode(
        self,
        chunks: Items[Audio | Rate],
        sample_rate: int,
        *,
        channels: int = 1,
        resume: Resume | None = None,
        **options: Unpack[TranscodeOptions],
    ) -> AsyncStream[Audio]:
        """Send chunks of audio; iterate over the audio that a listener would hear."""

        async def plan() -> StreamPlan[Audio]:
            return transcoding(sample_rate, channels, options)

        return AsyncStream(self._stub.StreamingTranscode, plan, chunks, resume)

    async def _info(self, options: DecodeOptions) -> ModelInfo:
        name = options.get("model", "")
        return self._known.get(name) or await self.get_model(name)

    async def _unary(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise messages.remote_error(error) from None
