"""What the server says of a call: its configuration, its packets, its totals."""

from sotto.codec.packing import bytes_for
from sotto.proto.v1 import codec_pb2 as pb

from .call import Call
from .formats import Audio, RawFormat, encode_samples
from .messages import Codes, codes_packet, model_message
from .plans import DecodePlan, EncodePlan
from .session import DecodeSession, EncodeSession


def packet(plan: EncodePlan, codes: Codes, first_frame: int) -> pb.CodesPacket:
    """Codes [C, K, n] as they travel."""
    return codes_packet(codes, first_frame, plan.codec.info.codebook_size, plan.packed)


def audio_packet(audio: Audio, raw: RawFormat, first_sample: int) -> pb.AudioPacket:
    """Audio [S, C] as it travels."""
    content = encode_samples(audio, raw)
    return pb.AudioPacket(audio_content=content, first_sample=first_sample, num_samples=len(audio))


def encode_config(
    plan: EncodePlan, call: Call, session: EncodeSession | None = None
) -> pb.ResolvedConfig:
    """What an encoding call was understood to be; `session` says where it goes on."""
    books = session.num_codebooks if session is not None else plan.num_codebooks
    return _resolved(plan, plan.channels, books, call, session, plan.beam_size)


def decode_config(
    plan: DecodePlan,
    call: Call,
    session: EncodeSession | DecodeSession | None = None,
    beam_size: int = 0,
) -> pb.ResolvedConfig:
    """What a decoding call was understood to be; `session` says where it goes on.

    `beam_size` is that of the search before it, where there is one.
    """
    return _resolved(plan, plan.audio.channels, plan.num_codebooks, call, session, beam_size)


def totals(
    session: EncodeSession | DecodeSession,
    num_samples: int,
    plan: EncodePlan | DecodePlan,
    busy_s: float,
) -> pb.Totals:
    """What a call came to."""
    seconds = num_samples / plan.audio.sample_rate
    return pb.Totals(
        num_samples=num_samples,
        num_frames=session.num_frames,
        audio_seconds=seconds,
        num_bytes=bytes_for(session.num_codes, plan.codec.info.bits_per_code),
        real_time_factor=busy_s / seconds if seconds else 0.0,
    )


def _resolved(
    plan: EncodePlan | DecodePlan,
    channels: int,
    num_codebooks: int,
    call: Call,
    session: EncodeSession | DecodeSession | None,
    beam_size: int,
) -> pb.ResolvedConfig:
    info = plan.codec.info
    return pb.ResolvedConfig(
        model=model_message(info, plan.codec.beam_sizes),
        audio_channel_count=channels,
        num_codebooks=num_codebooks,
        bitrate=info.bitrate(num_codebooks),
        token_format=pb.PACKED if plan.packed else pb.INT32,
        encoding=plan.audio.encoding.value,
        sample_rate_hertz=plan.audio.sample_rate,
        request_id=call.request_id,
        num_samples=session.num_samples if session is not None else 0,
        num_frames=session.num_frames if session is not None else 0,
        beam_size=beam_size,
    )
