"""Codes to packed bits and back, frame by frame, most significant bit first; needs no torch."""

from functools import cache

import numpy as np
import numpy.typing as npt

from .errors import BitstreamError, CodesError, ShapeError

Codes = npt.NDArray[np.int64]


def bytes_for(num_codes: int, bits_per_code: int) -> int:
    """Bytes that hold `num_codes` codes, the last byte padded with zero bits."""
    return (num_codes * bits_per_code + 7) // 8


@cache
def _weights(bits: int) -> Codes:
    """int64 [bits], what each bit of a code counts, most significant first."""
    return 1 << np.arange(bits - 1, -1, -1, dtype=np.int64)


def check_range(codes: Codes, codebook_size: int) -> None:
    """Raise CodesError if any code is outside [0, codebook_size)."""
    if codes.size and (codes.min() < 0 or codes.max() >= codebook_size):
        raise CodesError(
            f"codes run from {codes.min()} to {codes.max()}; expected 0 to {codebook_size - 1}"
        )


def pack(codes: Codes, codebook_size: int) -> bytes:
    """Pack codes [K, T] into bits: all books of frame 0, all books of frame 1, and so on.

    Raises:
        ShapeError: Not two axes.
        CodesError: A code outside [0, codebook_size).
    """
    if codes.ndim != 2:
        raise ShapeError(f"codes have shape {codes.shape}; expected [K, T]")
    check_range(codes, codebook_size)
    bits = (codebook_size - 1).bit_length()
    flat = codes.T.reshape(-1, 1)  # [K, T] -> [T * K, 1], frame by frame
    return np.packbits((flat & _weights(bits)).reshape(-1) != 0).tobytes()


def unpack(packed: bytes, num_codebooks: int, num_frames: int, codebook_size: int) -> Codes:
    """Undo `pack`.

    Returns:
        codes: int64 [K, T].

    Raises:
        BitstreamError: The number of bytes does not fit `num_codebooks` x `num_frames`, the
            padding is not zero, or a code is out of range.
    """
    bits = (codebook_size - 1).bit_length()
    count = num_codebooks * num_frames
    expected = bytes_for(count, bits)
    if len(packed) != expected:
        raise BitstreamError(
            f"{len(packed)} bytes of packed codes; {num_codebooks} books x {num_frames} frames "
            f"of {bits} bits need {expected}"
        )
    stream = np.unpackbits(np.frombuffer(packed, np.uint8))
    if len(stream) > count * bits and stream[count * bits :].any():
        raise BitstreamError("the padding bits after the last code are not zero: damaged packet")
    flat = stream[: count * bits].reshape(count, bits) @ _weights(bits)
    codes = np.ascontiguousarray(flat.reshape(num_frames, num_codebooks).T)
    if codebook_size < 1 << bits and codes.size and codes.max() >= codebook_size:
        raise BitstreamError(f"code {codes.max()} in a book of {codebook_size} entries: damaged")
    return codes
