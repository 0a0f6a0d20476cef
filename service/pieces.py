"""Cuts what came in one message into pieces of about a second, each a short step for a worker."""

from collections.abc import Iterator

from sotto.proto.v1 import codec_pb2 as pb

from .errors import ProtocolError
from .formats import Audio, RawFormat, decode_samples, num_samples
from .messages import Codes, packet_pieces
from .plans import AudioFormat, DecodePlan


def audio_pieces(payload: bytes, raw: RawFormat, audio: AudioFormat) -> Iterator[Audio]:
    """Headerless audio as float32 [S, C], decoded one by one as they are asked for.

    Raises:
        AudioError: The bytes do not make whole samples; later, a sample is not finite.
    """
    num_samples(payload, raw, audio.channels)
    return _decoded(payload, raw, audio)


def _decoded(payload: bytes, raw: RawFormat, audio: AudioFormat) -> Iterator[Audio]:
    view = memoryview(payload)
    step = audio.sample_rate * audio.channels * raw.bytes_per_sample
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
