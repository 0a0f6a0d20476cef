"""The clients' options and results to messages and back; sync and async share it."""

from collections.abc import Callable
from typing import Any, Final, Unpack

import grpc
import numpy as np

from sotto.codec.errors import ConfigError, ShapeError
from sotto.proto.v1 import codec_pb2 as pb

from .client_types import (
    Audio,
    Codes,
    Decoded,
    DecodeOptions,
    Encoded,
    EncodeOptions,
    Encoding,
    Packet,
    StreamInfo,
    Totals,
)
from .errors import REQUEST_ID_KEY, RemoteError
from .formats import RawFormat, decode_samples, encode_samples
from .messages import codes_packet, model_info, packet_codes
from .rich_status import retry_after_s

CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),  # the server's own limit decides
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),  # so that a server that vanished is noticed
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.ping_timeout_ms", 20_000),  # by default a minute, and it decides
    ("grpc.initial_reconnect_backoff_ms", 100),  # so that a resumed stream is back soon
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


def encode_config(
    sample_rate: int,
    channels: int,
    *,
    model: str = "",
    identity: str = "",
    num_codebooks: int | None = None,
    bitrate: float | None = None,
    beam_size: int = 0,
    mix_down: bool = False,
    encoding: Encoding = RawFormat.FLOAT32,
) -> pb.EncodeConfig:
    """The message behind `EncodeOptions`; ConfigError if both ways to set the rate were used."""
    if num_codebooks is not None and bitrate is not None:
        raise ConfigError(f"num_codebooks={num_codebooks} and bitrate={bitrate:g}; give one")
    return pb.EncodeConfig(
        model=model,
        identity=identity,
        encoding=raw_format(encoding).value,
        sample_rate_hertz=sample_rate,
        audio_channel_count=channels,
        mix_down=mix_down,
        num_codebooks=num_codebooks,
        bitrate=bitrate,
        beam_size=beam_size,
        token_format=pb.PACKED,
    )


def decode_config(
    channels: int,
    *,
    model: str = "",
    identity: str = "",
    sample_rate: int = 0,
    num_samples: int | None = None,
    packed: bool = True,
    encoding: Encoding = RawFormat.FLOAT32,
) -> pb.DecodeConfig:
    """The message behind `DecodeOptions`."""
    return pb.DecodeConfig(
        model=model,
        identity=identity,
        encoding=raw_format(encoding).value,
        sample_rate_hertz=sample_rate,
        audio_channel_count=channels,
        token_format=pb.PACKED if packed else pb.INT32,
        num_samples=num_samples,
    )


def transcode_config(
    sample_rate: int,
    channels: int,
    *,
    output_sample_rate: int = 0,
    on_codes: Callable[[Packet], None] | None = None,
    **encode: Unpack[EncodeOptions],
) -> pb.TranscodeConfig:
    """The message behind `TranscodeOptions`."""
    return pb.TranscodeConfig(
        encode=encode_config(sample_rate, channels, **encode),
        output_sample_rate_hertz=output_sample_rate,
        return_codes=on_codes is not None,
    )


def raw_format(encoding: Encoding) -> RawFormat:
    """The format of that name; ConfigError lists the names."""
    try:
        return RawFormat(encoding)
    except ValueError:
        known = ", ".join(raw.value for raw in RawFormat)
        raise ConfigError(f"encoding '{encoding}' is unknown; known: {known}") from None


def audio_bytes(audio: Audio, channels: int, encoding: int) -> bytes:
    """Audio [S] or [C, S] as it travels; ShapeError if it has not that many channels."""
    rows = audio[np.newaxis] if audio.ndim == 1 else audio
    if rows.ndim != 2 or rows.shape[0] != channels:
        raise ShapeError(f"audio has shape {audio.shape}; expected [{channels}, S]")
    return encode_samples(rows.T, RawFormat(pb.AudioEncoding.Name(encoding)))


def bytes_audio(content: bytes, config: pb.ResolvedConfig) -> Audio:
    """Audio float32 [C, S] from what came."""
    raw = RawFormat(pb.AudioEncoding.Name(config.encoding))
    return np.ascontiguousarray(decode_samples(content, raw, config.audio_channel_count).T)


def codes_message(
    codes: Codes | Packet, config: pb.DecodeConfig, codebook_size: int
) -> pb.CodesPacket:
    """Codes [C, K, n], or [K, n] of one channel, as they travel."""
    first = codes.first_frame if isinstance(codes, Packet) else None
    array = codes.codes if isinstance(codes, Packet) else codes
    array = array[np.newaxis] if array.ndim == 2 else array
    return codes_packet(array, first, codebook_size, config.token_format == pb.PACKED)


def message_packet(packet: pb.CodesPacket, config: pb.ResolvedConfig) -> Packet:
    """Codes int64 [C, K, n] from what came."""
    info, channels = model_info(config.model), config.audio_channel_count
    books = info.num_codebooks  # a packet says how many it has; a rate change may have raised them
    codes = packet_codes(packet, info, books, channels, packed=True)
    return Packet(codes, packet.first_frame)


def stream_info(config: pb.ResolvedConfig) -> StreamInfo:
    """The server's acknowledgement."""
    return StreamInfo(
        model=model_info(config.model),
        channels=config.audio_channel_count,
        num_codebooks=config.num_codebooks,
        bitrate=config.bitrate,
        sample_rate=config.sample_rate_hertz,
        request_id=config.request_id,
        beam_size=config.beam_size,
    )


def totals(message: pb.Totals) -> Totals:
    """The server's last words."""
    return Totals(
        num_samples=message.num_samples,
        num_frames=message.num_frames,
        audio_seconds=message.audio_seconds,
        num_bytes=message.num_bytes,
        real_time_factor=message.real_time_factor,
    )


def remote_error(error: grpc.RpcError) -> RemoteError:
    """What a failed call is to our callers."""
    failed: Any = error
    metadata = dict(failed.trailing_metadata() or ())
    request_id = str(metadata.get(REQUEST_ID_KEY, ""))
    return RemoteError(failed.code(), failed.details() or "", request_id, retry_after_s(metadata))


def encode_request(audio: Audio, sample_rate: int, options: EncodeOptions) -> pb.EncodeRequest:
    """The message of a unary encoding."""
    channels = 1 if audio.ndim == 1 else audio.shape[0]
    config = encode_config(sample_rate, channels, **options)
    content = audio_bytes(audio, channels, config.encoding)
    return pb.EncodeRequest(config=config, audio_content=content)


def decode_request(codes: Codes, codebook_size: int, options: DecodeOptions) -> pb.DecodeRequest:
    """The message of a unary decoding."""
    config = decode_config(1 if codes.ndim == 2 else codes.shape[0], **options)
    return pb.DecodeRequest(config=config, codes=codes_message(codes, config, codebook_size))


def encoded(response: pb.EncodeResponse) -> Encoded:
    """The result of a unary encoding."""
    codes = message_packet(response.codes, response.config).codes
    return Encoded(codes, stream_info(response.config), totals(response.totals))


def decoded(response: pb.DecodeResponse) -> Decoded:
    """The result of a unary decoding."""
    audio = bytes_audio(response.audio_content, response.config)
    return Decoded(audio, stream_info(response.config), totals(response.totals))
