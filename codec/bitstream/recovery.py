"""Finding the blocks of a `.sotto` file that was cut short, or that lost or gained bytes."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import BitstreamError
from ..rates import rescale
from .header import Header, check_crc
from .records import (
    BLOCK_SYNC,
    END_BYTES,
    END_SYNC,
    HEAD_BYTES,
    End,
    block_bytes,
    num_blocks,
    read_head,
)

WINDOW_BYTES = 1 << 16
MISSING = -1


@dataclass(frozen=True)
class _Found:
    index: int
    num_frames: int
    offset: int
    stop: int  # where the next record should begin


def scan(source: BinaryIO, header: Header, num_bytes: int) -> tuple[End, Sequence[int]]:
    """Walk through a whole file once and keep what is sound.

    Memory grows with the size of the file, never with what the file claims: more missing blocks
    than twice the blocks it has room for (and a minute or so) are not believed.

    Returns:
        end: The end record, or what the blocks amount to if there is none to believe.
        offsets: Byte of every block, `MISSING` for those that were not found.
    """
    limit = 2 * (num_bytes // block_bytes(header, header.block_frames)) + 64
    offsets = array("q")
    position, last_frames = header.size, header.block_frames
    while (found := _next_block(source, header, position, len(offsets), limit)) is not None:
        offsets.extend([MISSING] * (found.index - len(offsets)))
        offsets.append(found.offset)
        position, last_frames = found.stop, found.num_frames
    end = _find_end(source, header, max(position, num_bytes - WINDOW_BYTES))
    claimed = num_blocks(header, end.num_samples) if end else -1
    if end is not None and len(offsets) <= claimed <= limit:
        offsets.extend([MISSING] * (claimed - len(offsets)))
        return end, offsets
    end = _end_of(header, len(offsets), last_frames)
    return end, offsets[: num_blocks(header, end.num_samples)]


def _next_block(
    source: BinaryIO, header: Header, position: int, expected: int, limit: int
) -> _Found | None:
    """The first sound block from `position` on that is not before block `expected`."""
    for offset in _marks(source, position):
        try:
            source.seek(offset)
            head = source.read(HEAD_BYTES)
            index, num_frames = read_head(head, header)
            if not expected <= index < limit:
                continue
            size = block_bytes(header, num_frames)
            rest = source.read(size - HEAD_BYTES)
            if len(rest) < size - HEAD_BYTES:
                continue
            check_crc(head + rest, "block")
        except BitstreamError:
            continue
        return _Found(index, num_frames, offset, offset + size)
    return None


def _marks(source: BinaryIO, position: int) -> Iterator[int]:
    """Every place from `position` on that holds a block's sync marker."""
    while True:
        source.seek(position)
        window = source.read(WINDOW_BYTES)
        at = window.find(BLOCK_SYNC)
        while at >= 0:
            yield position + at
            at = window.find(BLOCK_SYNC, at + 1)
        if len(window) < WINDOW_BYTES:
            return
        position += WINDOW_BYTES - len(BLOCK_SYNC) + 1


def _find_end(source: BinaryIO, header: Header, position: int) -> End | None:
    source.seek(position)
    tail = source.read(WINDOW_BYTES)
    at = tail.rfind(END_SYNC)
    if at < 0:
        return None
    try:
        return End.from_bytes(tail[at : at + END_BYTES], header)
    except BitstreamError:
        return None


def _end_of(header: Header, blocks: int, last_frames: int) -> End:
    """The lengths that blocks without an end record stand for, at most a frame too long."""
    frames = (blocks - 1) * header.block_frames + last_frames if blocks else 0
    num_samples = max(0, frames * header.frame_size - header.delay_samples)
    return End(num_samples, rescale(num_samples, header.sample_rate, header.source_sample_rate))
