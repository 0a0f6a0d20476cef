"""Writing `.sotto` files block by block, without knowing their length."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..atomic import atomic_path
from ..errors import BitstreamError, CodesError, ShapeError, StreamClosedError
from ..packing import Codes, check_range
from ..rates import rescale
from .header import Header
from .records import End, write_block


class SottoWriter:
    """Writes codes as they come into a file whose length nobody needs to know before.

    The sink is only appended to, so a pipe or a socket will do. A file that was never finished has
    no end record, and readers see that.

    Args:
        sink: Anything with `write(bytes)`.
        header: `Header.for_model` makes one.

    Attributes:
        header: As given.
        num_frames: Frames in the sink so far.
        num_bytes: Bytes in the sink so far.
        finished: Whether the end record is written.
    """

    def __init__(self, sink: BinaryIO, header: Header) -> None:
        self.header = header
        self.num_frames = 0
        self.num_bytes = 0
        self.finished = False
        self._sink = sink
        self._index = 0
        self._pending: Codes = np.empty((header.channels, header.num_codebooks, 0), np.int64)
        self._put(header.to_bytes())

    def write(self, codes: Codes) -> None:
        """Append codes int64 [C, K, n], any n; whole blocks go to the sink at once.

        Raises:
            ShapeError: C or K are not the header's.
            CodesError: A code outside the codebook.
            StreamClosedError: After `finish`.
            BitstreamError: The sink cannot be written, such as on a full disk.
        """
        if self.finished:
            raise StreamClosedError("this .sotto file is finished; open another to write more")
        expected = (self.header.channels, self.header.num_codebooks)
        if codes.ndim != 3 or codes.shape[:2] != expected:
            raise ShapeError(f"codes have shape {codes.shape}; expected [C, K] = {expected}, n")
        check_range(codes, self.header.codebook_size)
        codes = np.concatenate([self._pending, codes], axis=2)
        size = self.header.block_frames
        whole = codes.shape[2] // size * size
        for start in range(0, whole, size):
            self._put_block(codes[:, :, start : start + size])
        self._pending = codes[:, :, whole:].copy()

    def finish(self, num_samples: int, source_num_samples: int | None = None) -> None:
        """Write the last block and the end record; the sink stays open.

        Args:
            num_samples: Exact length at the model's rate, per channel.
            source_num_samples: Exact length at the source's rate; computed if not given.

        Raises:
            CodesError: The frames that were written are not those of `num_samples` samples.
            StreamClosedError: Called twice.
        """
        if self.finished:
            raise StreamClosedError("this .sotto file is finished already")
        frames = self.num_frames + self._pending.shape[2]
        needed = self.header.num_frames(num_samples)
        if frames != needed:
            raise CodesError(f"{frames} frames written, but {num_samples} samples need {needed}")
        if source_num_samples is None:
            rates = self.header.sample_rate, self.header.source_sample_rate
            source_num_samples = rescale(num_samples, *rates)
        if self._pending.shape[2]:
            self._put_block(self._pending)
        self._put(End(num_samples, source_num_samples).to_bytes())
        self.finished = True

    def _put_block(self, codes: Codes) -> None:
        self._put(write_block(self.header, self._index, codes))
        self._index += 1
        self.num_frames += codes.shape[2]

    def _put(self, data: bytes) -> None:
        with _told("a .sotto file"):
            self._sink.write(data)
        self.num_bytes += len(data)


@contextmanager
def create(path: str | Path, header: Header) -> Iterator[SottoWriter]:
    """A writer for `path`, which appears only if the block ends without error and `finish` ran.

    Raises:
        BitstreamError: `path` cannot be written, or the writer was not finished.
    """
    with atomic_path(path, BitstreamError) as temporary:
        sink = temporary.open("wb")
        try:
            writer = SottoWriter(sink, header)
            yield writer
            with _told(path):
                sink.close()
        finally:
            with suppress(OSError):
                sink.close()
        if not writer.finished:
            raise BitstreamError(f"{path} was not finished; call finish() with its length")


@contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """What the system says when it cannot write, such as on a full disk, as the codec's error."""
    try:
        yield
    except OSError as problem:
        raise BitstreamError(f"cannot write {path}: {problem.strerror or problem}") from problem
