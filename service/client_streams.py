"""What a streaming call sends and how its responses read; sync and async share it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sotto.proto.v1 import codec_pb2 as pb

from . import client_messages as messages
from .client_types import (
    Audio,
    Codes,
    DecodeOptions,
    EncodeOptions,
    Packet,
    StreamInfo,
    Totals,
    TranscodeOptions,
)

T = TypeVar("T")


@dataclass(frozen=True)
class StreamPlan(Generic[T]):
    """One streaming call.

    Attributes:
        first: The request with the configuration.
        request: Makes a request of what the caller sends.
        result: Reads the result in a response, if there is one for the caller.
    """

    first: Any
    request: Callable[[Any], Any]
    result: Callable[[Any, pb.ResolvedConfig], T | None]


def encoding(sample_rate: int, channels: int, options: EncodeOptions) -> StreamPlan[Packet]:
    """A StreamingEncode call."""
    config = messages.encode_config(sample_rate, channels, **options)

    def request(chunk: Audio) -> pb.StreamingEncodeRequest:
        content = messages.audio_bytes(chunk, channels, config.encoding)
        return pb.StreamingEncodeRequest(audio_content=content)

    def result(response: Any, resolved: pb.ResolvedConfig) -> Packet:
        return messages.message_packet(response.codes, resolved)

    return StreamPlan(pb.StreamingEncodeRequest(streaming_config=config), request, result)


def decoding(channels: int, codebook_size: int, options: DecodeOptions) -> StreamPlan[Audio]:
    """A StreamingDecode call."""
    config = messages.decode_config(channels, **options)

    def request(codes: Packet | Codes) -> pb.StreamingDecodeRequest:
        packet = messages.codes_message(codes, config, codebook_size)
        return pb.StreamingDecodeRequest(codes=packet)

    def result(response: Any, resolved: pb.ResolvedConfig) -> Audio:
        return messages.bytes_audio(response.audio.audio_content, resolved)

    return StreamPlan(pb.StreamingDecodeRequest(streaming_config=config), request, result)


def transcoding(sample_rate: int, channels: int, options: TranscodeOptions) -> StreamPlan[Audio]:
    """A StreamingTranscode call."""
    config = messages.transcode_config(sample_rate, channels, **options)
    on_codes = options.get("on_codes")

    def request(chunk: Audio) -> pb.StreamingTranscodeRequest:
        content = messages.audio_bytes(chunk, channels, config.encode.encoding)
        return pb.StreamingTranscodeRequest(audio_content=content)

    def result(response: Any, resolved: pb.ResolvedConfig) -> Audio | None:
        if response.WhichOneof("response") == "audio":
            return messages.bytes_audio(response.audio.audio_content, resolved)
        if on_codes is not None:
            on_codes(messages.message_packet(response.codes, resolved))
        return None

    return StreamPlan(pb.StreamingTranscodeRequest(streaming_config=config), request, result)


class Responses(Generic[T]):
    """Sorts the responses of a stream: its acknowledgement, its results, its totals.

    Attributes:
        info: The call as the server understood it, once that came.
        totals: What the call came to, once it ended.
    """

    def __init__(self, plan: StreamPlan[T]) -> None:
        self.info: StreamInfo | None = None
        self.totals: Totals | None = None
        self._config = pb.ResolvedConfig()
        self._result = plan.result

    def take(self, response: Any) -> T | None:
        """Take a response; give the result that it holds, if any."""
        field = response.WhichOneof("response")
        if field == "config":
            self._config, self.info = response.config, messages.stream_info(response.config)
        elif field == "totals":
            self.totals = messages.totals(response.totals)
        else:
            return self._result(response, self._config)
        return None
