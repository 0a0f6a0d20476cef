"""What a streaming call sends and how its responses read; sync and async share it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sotto.codec.info import ModelInfo
from sotto.proto.v1 import codec_pb2 as pb

from . import client_messages as messages
from .client_resume import Journal, Once, Rate
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
_ANY: Final = 1 << 62  # packets of codes are not cut


@dataclass(frozen=True)
class StreamPlan(Generic[T]):
    """One streaming call.

    Attributes:
        first: Makes the request with the configuration, from a resume token or b"".
        request: Makes a request of what the caller sends.
        state_request: The request for a resume token.
        result: Reads the result in a response, if there is one for the caller.
        units_per_s: How long items are in a second: samples, or frames.
        longest: An item of more is cut before it is sent.
        covers: How far the stream is in a token: samples, or frames.
    """

    first: Callable[[bytes], Any]
    request: Callable[[Any], Any]
    state_request: Any
    result: Callable[[Any, pb.ResolvedConfig], T | None]
    units_per_s: float
    longest: int
    covers: Callable[[pb.ResumeState], int]


def encoding(sample_rate: int, channels: int, options: EncodeOptions) -> StreamPlan[Packet]:
    """A StreamingEncode call."""
    config = messages.encode_config(sample_rate, channels, **options)
    once = Once()

    def first(token: bytes) -> pb.StreamingEncodeRequest:
        return pb.StreamingEncodeRequest(streaming_config=_with_token(config, token))

    def request(item: Audio | Rate) -> pb.StreamingEncodeRequest:
        if isinstance(item, Rate):
            return pb.StreamingEncodeRequest(rate_change=_rate_change(item))
        content = messages.audio_bytes(item, channels, config.encoding)
        return pb.StreamingEncodeRequest(audio_content=content)

    def result(response: Any, resolved: pb.ResolvedConfig) -> Packet | None:
        return _fresh_packet(response.codes, resolved, once)

    state_request = pb.StreamingEncodeRequest(state_request=pb.StateRequest())
    return StreamPlan(
        first, request, state_request, result, sample_rate, sample_rate, lambda s: s.num_samples
    )


def decoding(channels: int, info: ModelInfo, options: DecodeOptions) -> StreamPlan[Audio]:
    """A StreamingDecode call."""
    config = messages.decode_config(channels, **options)
    once = Once()

    def first(token: bytes) -> pb.StreamingDecodeRequest:
        return pb.StreamingDecodeRequest(streaming_config=_with_token(config, token))

    def request(codes: Packet | Codes) -> pb.StreamingDecodeRequest:
        packet = messages.codes_message(codes, config, info.codebook_size)
        return pb.StreamingDecodeRequest(codes=packet)

    def result(response: Any, resolved: pb.ResolvedConfig) -> Audio | None:
        return _fresh_audio(response.audio, resolved, once)

    state_request = pb.StreamingDecodeRequest(state_request=pb.StateRequest())
    return StreamPlan(
        first, request, state_request, result, info.frame_rate, _ANY, lambda s: s.num_frames
    )


def transcoding(sample_rate: int, channels: int, options: TranscodeOptions) -> StreamPlan[Audio]:
    """A StreamingTranscode call."""
    config = messages.transcode_config(sample_rate, channels, **options)
    on_codes = options.get("on_codes")
    once, codes_once = Once(), Once()

    def first(token: bytes) -> pb.StreamingTranscodeRequest:
        return pb.StreamingTranscodeRequest(streaming_config=_with_token(config, token))

    def request(item: Audio | Rate) -> pb.StreamingTranscodeRequest:
        if isinstance(item, Rate):
            return pb.StreamingTranscodeRequest(rate_change=_rate_change(item))
        content = messages.audio_bytes(item, channels, config.encode.encoding)
        return pb.StreamingTranscodeRequest(audio_content=content)

    def result(response: Any, resolved: pb.ResolvedConfig) -> Audio | None:
        if response.WhichOneof("response") == "audio":
            return _fresh_audio(response.audio, resolved, once)
        packet = _fresh_packet(response.codes, resolved, codes_once)
        if on_codes is not None and packet is not None:
            on_codes(packet)
        return None

    state_request = pb.StreamingTranscodeRequest(state_request=pb.StateRequest())
    return StreamPlan(
        first, request, state_request, result, sample_rate, sample_rate, lambda s: s.num_samples
    )


def _with_token(config: Any, token: bytes) -> Any:
    again = type(config)()
    again.CopyFrom(config)
    again.resume_token = token
    return again


def _rate_change(rate: Rate) -> pb.RateChange:
    return pb.RateChange(num_codebooks=rate.num_codebooks, bitrate=rate.bitrate)


def _fresh_packet(packet: pb.CodesPacket, resolved: pb.ResolvedConfig, once: Once) -> Packet | None:
    found = messages.message_packet(packet, resolved)
    codes = once.fresh(found.codes, found.first_frame)
    return None if codes is None else Packet(codes, once.next - codes.shape[-1])


def _fresh_audio(packet: pb.AudioPacket, resolved: pb.ResolvedConfig, once: Once) -> Audio | None:
    audio = messages.bytes_audio(packet.audio_content, resolved)
    fresh: Audio | None = once.fresh(audio, packet.first_sample)
    return fresh


class Responses(Generic[T]):
    """Sorts the responses of a stream: its acknowledgement, its results, its tokens, its totals.

    Attributes:
        info: The call as the server understood it, once that came.
        totals: What the call came to, once it ended.
        journal: Is told of tokens.
    """

    def __init__(self, plan: StreamPlan[T], journal: Journal) -> None:
        self.info: StreamInfo | None = None
        self.totals: Totals | None = None
        self.journal = journal
        self._config = pb.ResolvedConfig()
        self._plan = plan

    def take(self, response: Any) -> T | None:
        """Take a response; give the result that it holds, if any."""
        field = response.WhichOneof("response")
        if field == "config":
            self._config, self.info = response.config, messages.stream_info(response.config)
        elif field == "totals":
            self.totals = messages.totals(response.totals)
        elif field == "resume_state":
            state = response.resume_state
            self.journal.covered(state.token, self._plan.covers(state))
        else:
            return self._plan.result(response, self._config)
        return None
