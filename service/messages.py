"""Codes and model facts to protobuf messages and back; server and client share it."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sotto.codec.errors import BitstreamError, CodesError, ShapeError
from sotto.codec.info import ModelInfo
from sotto.codec.packing import bytes_for, check_range, pack, unpack
from sotto.export.runtime import NOT_HEARD
from sotto.proto.v1 import codec_pb2 as pb

from .rows import joined, stacked

Codes = npt.NDArray[np.int64]


def model_message(info: ModelInfo, beam_sizes: Sequence[int]) -> pb.Model:
    """What a client may know about a model and the searches of its encoder."""
    return pb.Model(
        name=info.name,
        version=info.version,
        identity=info.identity,
        sample_rate_hertz=info.sample_rate,
        frame_size=info.frame_size,
        frame_rate=info.frame_rate,
        num_codebooks=info.num_codebooks,
        codebook_size=info.codebook_size,
        bits_per_code=info.bits_per_code,
        delay_samples=info.delay_samples,
        latency_ms=info.latency_ms,
        bitrates=[info.bitrate(k) for k in range(1, info.num_codebooks + 1)],
        beam_sizes=beam_sizes,
    )


def model_info(model: pb.Model) -> ModelInfo:
    """The domain's view of a model that a server described."""
    return ModelInfo(
        name=model.name,
        version=model.version,
        identity=model.identity,
        sample_rate=model.sample_rate_hertz,
        frame_size=model.frame_size,
        num_codebooks=model.num_codebooks,
        codebook_size=model.codebook_size,
        delay_samples=model.delay_samples,
    )


def codes_packet(
    codes: Codes, first_frame: int | None, codebook_size: int, packed: bool
) -> pb.CodesPacket:
    """Write codes [C, K, n] as a packet.

    Raises:
        ShapeError: Not three axes.
        CodesError: A code that the format cannot carry.
    """
    if codes.ndim != 3:
        raise ShapeError(f"codes have shape {codes.shape}; expected [C, K, T]")
    packet = pb.CodesPacket(
        first_frame=first_frame, num_frames=codes.shape[2], num_codebooks=codes.shape[1]
    )
    for channel in codes:
        if packed:
            packet.channels.add(packed=pack(channel, codebook_size))
        else:
            check_range(channel[channel != NOT_HEARD], codebook_size)
            packet.channels.add(values=channel.T.reshape(-1).tolist())
    return packet


def packet_codes(
    packet: pb.CodesPacket, info: ModelInfo, num_codebooks: int, channels: int, packed: bool
) -> Codes:
    """Read a whole packet.

    Args:
        packet: From the wire.
        info: The model that made the codes.
        num_codebooks: The most books it may carry, and what it carries if it does not say.
        channels: What it must carry.
        packed: Bits rather than integers.

    Returns:
        codes: int64 [C, k, n].

    Raises:
        CodecError: The packet contradicts that, or is damaged.
    """
    frames = max(1, packet.num_frames)
    parts = packet_pieces(packet, info, num_codebooks, channels, packed, -(-frames // 8) * 8)
    return joined(list(parts))


def packet_pieces(
    packet: pb.CodesPacket,
    info: ModelInfo,
    num_codebooks: int,
    channels: int,
    packed: bool,
    piece_frames: int,
) -> Iterator[Codes]:
    """Read a packet at most `piece_frames` frames at a time, a multiple of 8, as `packet_codes`.

    A large packet then never unfolds in memory as a whole. At least one piece comes, if empty.
    """
    K = check_packet(packet, info, num_codebooks, channels, packed)
    return _pieces(packet, K, info.codebook_size, packed, piece_frames)


def check_packet(
    packet: pb.CodesPacket, info: ModelInfo, num_codebooks: int, channels: int, packed: bool
) -> int:
    """Refuse a packet whose parts contradict each other; gives the books it carries.

    Raises:
        CodecError: It does not hold what it says, or not what the call has.
    """
    K = packet.num_codebooks or num_codebooks
    if not 1 <= K <= num_codebooks:
        raise CodesError(f"a packet of {K} books; this call has 1 to {num_codebooks}")
    if packet.num_frames < 0:
        raise CodesError(f"a packet of {packet.num_frames} frames; expected 0 or more")
    if len(packet.channels) != channels:
        raise CodesError(f"a packet of {len(packet.channels)} channels; this call has {channels}")
    bits = info.bits_per_code if packed else 0
    for channel in packet.channels:
        _check_length(channel, K * packet.num_frames, bits)
    return K


def _pieces(
    packet: pb.CodesPacket, K: int, codebook_size: int, packed: bool, piece_frames: int
) -> Iterator[Codes]:
    bits = (codebook_size - 1).bit_length()
    for start in range(0, max(1, packet.num_frames), piece_frames):
        n = min(piece_frames, packet.num_frames - start)
        first, count = start * K, n * K
        if packed:
            at = first * bits // 8  # whole, since piece_frames is a multiple of 8
            pieces = [
                unpack(c.packed[at : at + bytes_for(count, bits)], K, n, codebook_size)
                for c in packet.channels
            ]
        else:
            pieces = [
                _frames(c.values[first : first + count], K, codebook_size) for c in packet.channels
            ]
        yield stacked(pieces)


def _check_length(channel: pb.ChannelCodes, count: int, bits: int) -> None:
    if bits and len(channel.packed) != bytes_for(count, bits):
        raise BitstreamError(
            f"{len(channel.packed)} bytes of packed codes; {count} codes of {bits} bits need "
            f"{bytes_for(count, bits)}"
        )
    if not bits and len(channel.values) != count:
        raise CodesError(f"{len(channel.values)} values; books x frames make {count}")


def _frames(values: Sequence[int], K: int, codebook_size: int) -> Codes:
    """int64 [K, n] from values written frame by frame."""
    codes = np.array(values, np.int64).reshape(-1, K).T
    check_range(codes[codes != NOT_HEARD], codebook_size)
    return np.ascontiguousarray(codes)
