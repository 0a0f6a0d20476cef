"""Cuts what came in one message into pieces of about a second, each a short step for a worker."""

from collections.abc import Iterable, Iterator
from typing import Final

from sotto.codec.errors import CodecError
from sotto.proto.v1 import codec_pb2 as pb

from .errors import ProtocolError
from .formats import Audio, RawFormat, decode_samples, num_samples
from .messages import Codes, packet_pieces
from .plans import AudioFormat, DecodePlan
from .rows import joined

UNARY_S: Final = 2  # seconds of a piece of a recording: one block of a step


def audio_pieces(
    payload: bytes, raw: RawFormat, audio: AudioFormat, seconds: int = 1
) -> Iterator[Audio]:
    """Headerless audio as float32 [S, C], decoded one by one as they are asked for.

    Raises:
        AudioError: The bytes do not make whole samples; later, a sample is not finite.
    """
    num_samples(payload, raw, audio.channels)
    return _decoded(payload, raw, audio, seconds * audio.sample_rate)


def _decoded(payload: bytes, raw: RawFormat, audio: AudioFormat, samples: int) -> Iterator[Audio]:
    view = memoryview(payload)
    step = samples * audio.channels * raw.bytes_per_sample
    for start in range(0, len(payload), step):
        yield decode_samples(view[start : start + step], raw, audio.channels)


def codes_pieces(packet: pb.CodesPacket, plan: DecodePlan, next_frame: int) -> Iterator[Codes]:
    """A packet as codes int64 [C, k, n], read one by one as they are asked for.

    Raises:
        ProtocolError: The packet does not continue the stream at `next_frame`.
        CodecError: It contradicts the configuration; later, it is damaged.
    """
    if packet.HasField("first_frame") and packet.first_frame != next_frame:
        raise ProtocolError(
            f"a packet that starts at frame {packet.first_frame}; {next_frame} was next. Send all "
            "packets in order; codes that were lost are INT32 codes of -1"
        )
    second = max(8, round(plan.codec.info.frame_rate / 8) * 8)
    return packet_pieces(
        packet, plan.codec.info, plan.num_codebooks, plan.audio.channels, plan.packed, second
    )


def joined_codes(
    packets: Iterable[pb.CodesPacket], plan: DecodePlan, next_frame: int
) -> Iterator[Codes]:
    """Packets in a row as codes int64 [C, k, n], neighbours of equal depth together.

    Raises:
        CodecError: As `codes_pieces`, once all codes before it were given.
    """
    waiting: list[Codes] = []
    try:
        for packet in packets:
            for codes in codes_pieces(packet, plan, next_frame):
                next_frame += codes.shape[2]
                full = sum(c.shape[2] for c in waiting) >= plan.codec.info.frame_rate
                if waiting and (full or codes.shape[1] != waiting[0].shape[1]):
                    yield joined(waiting)
                    waiting = []
                waiting.append(codes)
    except CodecError:
        if waiting:
            yield joined(waiting)
        raise
    if waiting:
        yield joined(waiting)
