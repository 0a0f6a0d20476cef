"""Reading any part of a `.sotto` file, damaged ones too."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self, get_args

import numpy as np

from ..errors import BitstreamError, ConfigError
from ..packing import Codes
from .header import read_header
from .records import END_BYTES, End, block_bytes, num_blocks, read_block
from .recovery import scan

Errors = Literal["raise", "conceal"]


@dataclass(frozen=True, eq=False)
class Block:
    """One block of a file.

    Attributes:
        index: Its number, from 0.
        first_frame: Number of its first frame.
        num_frames: Its frames.
        codes: int64 [C, K, num_frames]; None if the block is damaged or missing and the reader
            conceals.
    """

    index: int
    first_frame: int
    num_frames: int
    codes: Codes | None


class SottoReader:
    """Reads any part of a `.sotto` file without touching the rest.

    Opening reads the header and the end record. Blocks have computable places; only in a file
    whose size is wrong, and only with ``errors="conceal"``, they are searched once by their marks.

    Args:
        source: A path, or a seekable binary file.
        errors: "raise", or "conceal" to give damaged or missing blocks as absent.

    Attributes:
        header: What the file says about itself.
        num_samples: Exact length per channel at the model's rate.
        source_num_samples: The same at the source's rate.
        num_frames: Frames of codes.
        num_blocks: Blocks.
        num_bytes: Size of the file.
        recovered: Whether the file was cut short or shifted, so that blocks had to be searched.

    Raises:
        BitstreamError: Missing, not a `.sotto` file, or with "raise" truncated or of a wrong size.
        ConfigError: Another value of `errors`.
    """

    def __init__(self, source: str | Path | BinaryIO, errors: Errors = "raise") -> None:
        if errors not in get_args(Errors):
            raise ConfigError(f"errors={errors!r}; expected one of {', '.join(get_args(Errors))}")
        self.errors: Errors = errors
        self._owns = isinstance(source, str | Path)
        self._name = str(source) if isinstance(source, str | Path) else "the stream"
        self._source = _open(source) if isinstance(source, str | Path) else source
        try:
            self._read_layout()
        except BitstreamError as error:
            self.close()
            raise type(error)(f"{self._name}: {error}") from error

    def _read_layout(self) -> None:
        try:
            self.num_bytes = self._source.seek(0, io.SEEK_END)
            self._source.seek(0)
        except (OSError, AttributeError) as error:
            raise BitstreamError("cannot seek in it; save it to a file first") from error
        self.header = read_header(self._source)
        self.recovered = False
        try:
            end, self._offsets = self._computed_layout()
        except BitstreamError:
            if self.errors == "raise":
                raise
            end, self._offsets = scan(self._source, self.header, self.num_bytes)
            self.recovered = True
        self.num_samples = end.num_samples
        self.source_num_samples = end.source_num_samples
        self.num_frames = self.header.num_frames(self.num_samples)
        self.num_blocks = len(self._offsets)

    def _computed_layout(self) -> tuple[End, Sequence[int]]:
        """The end record and the place of every block, as a range: no index is stored."""
        header = self.header
        place = max(header.size, self.num_bytes - END_BYTES)
        try:
            end = End.from_bytes(self._bytes(place, END_BYTES), header)
        except BitstreamError as error:
            raise BitstreamError(f'{error} (errors="conceal" reads what is there)') from error
        step = block_bytes(header, header.block_frames)
        blocks = num_blocks(header, end.num_samples)
        missing = blocks * header.block_frames - header.num_frames(end.num_samples)
        last = block_bytes(header, header.block_frames - missing) if blocks else 0
        expected = header.size + max(0, blocks - 1) * step + last + END_BYTES
        if self.num_bytes != expected:
            raise BitstreamError(
                f"{self.num_bytes} bytes, but header and end record make {expected}: part of the "
                f'file is missing or was added (errors="conceal" reads what is there)'
            )
        return end, range(header.size, header.size + blocks * step, step)

    def frame_at(self, time_s: float) -> int:
        """The frame that holds the sample at `time_s`; the last one for a time after the end.

        Raises:
            ConfigError: Not a finite time from 0.
        """
        if not 0 <= time_s < math.inf:
            raise ConfigError(f"time {time_s} s; expected a finite time from 0")
        frame = int(time_s * self.header.frame_rate + 1e-6)
        return min(frame, max(self.num_frames - 1, 0))

    def block(self, index: int) -> Block:
        """Block `index`, read alone.

        Raises:
            BitstreamError: It is damaged (with "raise"); the message has its index and place.
            IndexError: The file has no such block.
        """
        if not 0 <= index < self.num_blocks:
            raise IndexError(f"block {index} of {self.num_blocks}")
        first = index * self.header.block_frames
        num_frames = min(self.header.block_frames, self.num_frames - first)
        try:
            codes = self._read_codes(index, num_frames)
        except BitstreamError as error:
            if self.errors == "raise":
                raise BitstreamError(
                    f"{self._name}: block {index} at byte {self._offsets[index]}: {error}"
                ) from error
            codes = None
        return Block(index, first, num_frames, codes)

    def _read_codes(self, index: int, num_frames: int) -> Codes:
        offset = self._offsets[index]
        if offset < 0:
            raise BitstreamError("missing")
        found, codes = read_block(
            self._bytes(offset, block_bytes(self.header, num_frames)), self.header
        )
        if found != index:
            raise BitstreamError(f"its index is {found}")
        return codes

    def blocks(self, start_frame: int = 0) -> Iterator[Block]:
        """Every block from the one that holds `start_frame` to the last."""
        for index in range(start_frame // self.header.block_frames, self.num_blocks):
            yield self.block(index)

    def codes(
        self, start_frame: int = 0, stop_frame: int | None = None, max_frames: int = 250
    ) -> Iterator[Codes]:
        """Codes int64 [C, K, n] of the frames from `start_frame` to before `stop_frame`, in order.

        Blocks that are absent give -1, which decoders take as not heard, so timing is kept.

        Args:
            start_frame: First frame.
            stop_frame: One past the last; the end of the file if not given.
            max_frames: About how many frames to give at once; whole blocks are given together.
        """
        stop = self.num_frames if stop_frame is None else min(stop_frame, self.num_frames)
        parts: list[Codes] = []
        for block in self.blocks(start_frame):
            if block.first_frame >= stop:
                break
            first, last = start_frame - block.first_frame, stop - block.first_frame
            parts.append(self._heard(block)[:, :, max(first, 0) : last])
            if sum(part.shape[2] for part in parts) + self.header.block_frames > max_frames:
                yield np.concatenate(parts, axis=2)
                parts = []
        if parts:
            yield np.concatenate(parts, axis=2)

    def _heard(self, block: Block) -> Codes:
        if block.codes is not None:
            return block.codes
        shape = (self.header.channels, self.header.num_codebooks, block.num_frames)
        return np.full(shape, -1, np.int64)

    def _bytes(self, offset: int, size: int) -> bytes:
        self._source.seek(offset)
        return self._source.read(size)

    def close(self) -> None:
        """Close the file, if this reader opened it."""
        if self._owns:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(path: str | Path) -> BinaryIO:
    if not Path(path).is_file():  # a named pipe would wait for its writer
        raise BitstreamError(f"no file at {path}; expected a .sotto file")
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise BitstreamError(f"cannot read {path}: {error.strerror}") from error
