"""The header of a `.sotto` file, to bytes and back; `docs/format.md` says it in words."""

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import BitstreamError, IdentityError
from ..info import ModelInfo
from ..packing import bytes_for
from ..rates import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

MAGIC = b"\x89SOTTO\r\n"  # not text: a transfer that rewrites line ends is noticed here
VERSION = 1
PACKED_BITS = 0  # the coding byte; other values are reserved for entropy coding
MAX_HEADER_BYTES = 1024
MAX_PAYLOAD_BYTES = 65535

_PREFIX = struct.Struct("<8sHH")  # magic, version, header size
_FIXED = struct.Struct("<BBHHHIIII32s")
_CRC = struct.Struct("<I")
CRC_BYTES = _CRC.size

_LIMITS = {
    "channels": (1, 32),
    "num_codebooks": (1, 256),
    "block_frames": (1, 65535),
    "frame_size": (1, 65535),
    "codebook_size": (2, 1 << 16),
    "sample_rate": (MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
    "source_sample_rate": (MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
    "delay_samples": (0, 1 << 20),
}


def with_crc(data: bytes) -> bytes:
    """`data` and the CRC-32 of `data`, as every record of a file ends."""
    return data + _CRC.pack(zlib.crc32(data))


def check_crc(record: bytes, what: str) -> bytes:
    """The record without its CRC-32; BitstreamError if that does not match."""
    data, stored = record[:-CRC_BYTES], _CRC.unpack(record[-CRC_BYTES:])[0]
    computed = zlib.crc32(data)
    if stored != computed:
        raise BitstreamError(f"{what}: CRC {computed:08x}, but the file says {stored:08x}: damaged")
    return data


@dataclass(frozen=True)
class Header:
    """What a `.sotto` file says about itself before its first block.

    Attributes:
        model: Name of the model that made the codes.
        model_version: Its version.
        identity: sha256 over its encoder and codebooks, 64 hex digits.
        sample_rate: Hz, of the model.
        source_sample_rate: Hz, of the audio that was encoded; decoding returns to it.
        channels: Mono streams side by side, each with its own codes.
        num_codebooks: Books in this file, the first ones of the model.
        codebook_size: Entries per book.
        frame_size: Samples per frame at `sample_rate`.
        delay_samples: Samples that a decoder drops from the start of what it decodes.
        block_frames: Frames of every block but the last, which may be shorter.

    Raises:
        BitstreamError: A field is outside its limits.
    """

    model: str
    model_version: str
    identity: str
    sample_rate: int
    source_sample_rate: int
    channels: int
    num_codebooks: int
    codebook_size: int
    frame_size: int
    delay_samples: int
    block_frames: int

    def __post_init__(self) -> None:
        """Reject what no honest writer writes, before anyone allocates memory for it."""
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise BitstreamError(f"header: {name}={value}; expected {low} to {high}")
        for name in ("model", "model_version"):
            text = getattr(self, name)
            if not text.isprintable() or not 1 <= len(text.encode()) <= 255:
                raise BitstreamError(f"header: {name}={text!r}; expected 1 to 255 printable bytes")
        if len(self.identity) != 64 or set(self.identity) - set("0123456789abcdef"):
            raise BitstreamError(f"header: identity={self.identity!r}; expected 64 hex digits")
        if self.payload_bytes(self.block_frames) > MAX_PAYLOAD_BYTES:
            raise BitstreamError(
                f"header: a block of {self.block_frames} frames would have "
                f"{self.payload_bytes(self.block_frames)} bytes; at most {MAX_PAYLOAD_BYTES}"
            )

    @classmethod
    def for_model(
        cls,
        info: ModelInfo,
        *,
        num_codebooks: int | None = None,
        channels: int = 1,
        source_sample_rate: int | None = None,
    ) -> "Header":
        """The header of a new file with codes of `info`'s model, in blocks of about a second."""
        books = info.num_codebooks if num_codebooks is None else num_codebooks
        fitting = MAX_PAYLOAD_BYTES // max(channels, 1) * 8 // max(books * info.bits_per_code, 1)
        return cls(
            model=info.name,
            model_version=info.version,
            identity=info.identity,
            sample_rate=info.sample_rate,
            source_sample_rate=source_sample_rate or info.sample_rate,
            channels=channels,
            num_codebooks=books,
            codebook_size=info.codebook_size,
            frame_size=info.frame_size,
            delay_samples=info.delay_samples,
            block_frames=max(1, min(round(info.frame_rate), fitting)),
        )

    @property
    def bits_per_code(self) -> int:
        """Bits of one code."""
        return (self.codebook_size - 1).bit_length()

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.frame_size

    @property
    def size(self) -> int:
        """Bytes of this header in a file."""
        names = len(self.model.encode()) + len(self.model_version.encode())
        return _PREFIX.size + _FIXED.size + 2 + names + CRC_BYTES

    def num_frames(self, num_samples: int) -> int:
        """Frames that carry `num_samples` samples and the delay; 0 for 0."""
        return -(-(num_samples + self.delay_samples) // self.frame_size) if num_samples else 0

    def payload_bytes(self, num_frames: int) -> int:
        """Bytes of packed codes in a block of `num_frames`."""
        count = self.num_codebooks * num_frames
        return self.channels * bytes_for(count, self.bits_per_code)

    def to_bytes(self) -> bytes:
        """This header as it stands in a file."""
        fixed = _FIXED.pack(
            PACKED_BITS,
            self.channels,
            self.num_codebooks,
            self.block_frames,
            self.frame_size,
            self.codebook_size,
            self.sample_rate,
            self.source_sample_rate,
            self.delay_samples,
            bytes.fromhex(self.identity),
        )
        names = [text.encode() for text in (self.model, self.model_version)]
        strings = b"".join(bytes([len(name)]) + name for name in names)
        return with_crc(_PREFIX.pack(MAGIC, VERSION, self.size) + fixed + strings)

    def check_model(self, info: ModelInfo) -> None:
        """Make sure that `info`'s model can decode this file.

        Raises:
            IdentityError: Another model made the codes.
            BitstreamError: The same identity, but sizes that contradict the model's.
        """
        if self.identity != info.identity:
            raise IdentityError(
                f"these codes were made by {self.model} {self.model_version} "
                f"({self.identity[:12]}), but the model here is {info.name} {info.version} "
                f"({info.identity[:12]}); decode with the model that made them"
            )
        for name in ("sample_rate", "frame_size", "codebook_size", "delay_samples"):
            ours, theirs = getattr(info, name), getattr(self, name)
            if ours != theirs:
                raise BitstreamError(f"header: {name}={theirs}, but {self.model} has {ours}")
        if self.num_codebooks > info.num_codebooks:
            raise BitstreamError(
                f"header: {self.num_codebooks} books, but {self.model} has {info.num_codebooks}"
            )


def read_header(source: BinaryIO) -> Header:
    """Read the header at the position of `source`, and nothing after it.

    Raises:
        BitstreamError: Not a `.sotto` file, an unknown version or coding, or damaged.
    """
    prefix = source.read(_PREFIX.size)
    if not MAGIC.startswith(prefix[: len(MAGIC)]) or not prefix:
        raise BitstreamError(f"not a .sotto file: it starts with {prefix[: len(MAGIC)]!r}")
    if len(prefix) < _PREFIX.size:
        raise BitstreamError(f"header: the file ends after {len(prefix)} bytes: truncated")
    _, version, size = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise BitstreamError(f"header: format version {version}; this reader knows {VERSION}")
    smallest = _PREFIX.size + _FIXED.size + 2 + CRC_BYTES
    if not smallest <= size <= MAX_HEADER_BYTES:
        raise BitstreamError(f"header: {size} bytes; expected {smallest} to {MAX_HEADER_BYTES}")
    data = prefix + source.read(size - len(prefix))
    if len(data) < size:
        raise BitstreamError(f"header: the file ends after {len(data)} of {size} bytes: truncated")
    return _parse_header(check_crc(data, "header"))


def _parse_header(data: bytes) -> Header:
    coding, channels, books, block_frames, frame_size, *rest = _FIXED.unpack_from(
        data, _PREFIX.size
    )
    if coding != PACKED_BITS:
        raise BitstreamError(f"header: coding {coding} is unknown; this reader knows {PACKED_BITS}")
    codebook_size, sample_rate, source_sample_rate, delay_samples, identity = rest
    model, version = _parse_strings(data[_PREFIX.size + _FIXED.size :])
    return Header(
        model=model,
        model_version=version,
        identity=identity.hex(),
        sample_rate=sample_rate,
        source_sample_rate=source_sample_rate,
        channels=channels,
        num_codebooks=books,
        codebook_size=codebook_size,
        frame_size=frame_size,
        delay_samples=delay_samples,
        block_frames=block_frames,
    )


def _parse_strings(data: bytes) -> tuple[str, str]:
    first = data[0]
    second = data[first + 1] if first + 1 < len(data) else -1
    if second < 0 or len(data) != first + second + 2:
        raise BitstreamError("header: the names do not fill the header: damaged")
    try:
        return data[1 : first + 1].decode(), data[first + 2 :].decode()
    except UnicodeDecodeError as error:
        raise BitstreamError(f"header: a name is not UTF-8: {error}") from error
