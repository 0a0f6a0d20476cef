"""The records that follow the header of a `.sotto` file: blocks of codes and the end record."""

import struct
from dataclasses import dataclass

import numpy as np

from ..errors import BitstreamError
from ..packing import Codes, pack, unpack
from ..rates import rescale
from .header import CRC_BYTES, Header, check_crc, with_crc

BLOCK_SYNC = b"\xf5B"
END_SYNC = b"\xf5END"

_HEAD = struct.Struct("<2sIHHH")  # sync, index, frames, books, payload size
_END = struct.Struct("<4sQQ")  # sync, samples, source samples

HEAD_BYTES = _HEAD.size
END_BYTES = _END.size + CRC_BYTES
MAX_BLOCKS = 1 << 32
MAX_SAMPLES = 1 << 48


def block_bytes(header: Header, num_frames: int) -> int:
    """Bytes of a block of `num_frames`."""
    return HEAD_BYTES + header.payload_bytes(num_frames) + CRC_BYTES


def num_blocks(header: Header, num_samples: int) -> int:
    """Blocks of a file of `num_samples`."""
    return -(-header.num_frames(num_samples) // header.block_frames)


def write_block(header: Header, index: int, codes: Codes) -> bytes:
    """Block `index` of codes [C, K, n] as it stands in a file."""
    payload = b"".join(pack(channel, header.codebook_size) for channel in codes)
    head = _HEAD.pack(BLOCK_SYNC, index, codes.shape[2], header.num_codebooks, len(payload))
    return with_crc(head + payload)


def read_head(data: bytes, header: Header) -> tuple[int, int]:
    """Index and number of frames of the block that begins with `data`.

    Raises:
        BitstreamError: No block of this file begins so.
    """
    if len(data) < HEAD_BYTES:
        raise BitstreamError(f"{len(data)} bytes where {HEAD_BYTES} should begin a block")
    sync, index, num_frames, books, size = _HEAD.unpack_from(data)
    if sync != BLOCK_SYNC:
        raise BitstreamError(f"{sync!r} where the sync marker {BLOCK_SYNC!r} should be")
    if not 1 <= num_frames <= header.block_frames or books != header.num_codebooks:
        raise BitstreamError(f"{num_frames} frames of {books} books contradict the header")
    if size != header.payload_bytes(num_frames):
        raise BitstreamError(
            f"payload of {size} bytes; expected {header.payload_bytes(num_frames)}"
        )
    return index, num_frames


def read_block(data: bytes, header: Header) -> tuple[int, Codes]:
    """Index and codes int64 [C, K, n] of the block that is exactly `data`.

    Raises:
        BitstreamError: It is damaged or truncated.
    """
    index, num_frames = read_head(data, header)
    expected = block_bytes(header, num_frames)
    if len(data) != expected:
        raise BitstreamError(f"{len(data)} bytes where the block should have {expected}")
    payload = check_crc(data, "block")[HEAD_BYTES:]
    size = len(payload) // header.channels
    channels = [
        unpack(
            payload[c * size : (c + 1) * size],
            header.num_codebooks,
            num_frames,
            header.codebook_size,
        )
        for c in range(header.channels)
    ]
    return index, np.stack(channels)


@dataclass(frozen=True)
class End:
    """The last record of a file: its exact lengths, per channel.

    Attributes:
        num_samples: Samples at the model's rate.
        source_num_samples: Samples at the source's rate.
    """

    num_samples: int
    source_num_samples: int

    def to_bytes(self) -> bytes:
        """This record as it stands in a file."""
        return with_crc(_END.pack(END_SYNC, self.num_samples, self.source_num_samples))

    @classmethod
    def from_bytes(cls, data: bytes, header: Header) -> "End":
        """Undo `to_bytes`.

        Raises:
            BitstreamError: Not an end record, damaged, or longer than any file.
        """
        if len(data) != END_BYTES or not data.startswith(END_SYNC):
            raise BitstreamError("no end record: truncated, or its writer did not finish")
        _, num_samples, source_num_samples = _END.unpack(check_crc(data, "end record"))
        end = cls(num_samples, source_num_samples)
        if max(num_samples, source_num_samples) > MAX_SAMPLES:
            raise BitstreamError(f"end record: {end} is longer than any file")
        rates = header.sample_rate, header.source_sample_rate
        if abs(source_num_samples - rescale(num_samples, *rates)) > header.source_sample_rate:
            raise BitstreamError(
                f"end record: {source_num_samples} samples at {rates[1]} Hz and {num_samples} at "
                f"{rates[0]} Hz are not one recording"
            )
        if num_blocks(header, num_samples) > MAX_BLOCKS:
            raise BitstreamError(f"end record: {num_samples} samples need too many blocks")
        return end
