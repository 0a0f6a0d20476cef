"""Codes survive packing to the bit, and packed bytes that are not codes are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.errors import BitstreamError, CodesError, ShapeError
from sotto.codec.packing import bytes_for, pack, unpack

sizes = st.sampled_from([2, 3, 16, 1000, 1024, 1 << 16])


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(1, 12), st.integers(0, 40), st.integers(0, 1 << 30))
def test_unpacking_gives_back_what_was_packed(codebook_size, books, frames, seed):
    codes = np.random.default_rng(seed).integers(0, codebook_size, (books, frames))
    packed = pack(codes, codebook_size)
    assert len(packed) == bytes_for(books * frames, (codebook_size - 1).bit_length())
    assert np.array_equal(unpack(packed, books, frames, codebook_size), codes)


def test_frames_follow_each_other_and_the_first_bit_is_the_most_significant():
    codes = np.array([[0xA, 0xC], [0xB, 0xD]])  # two books, two frames
    assert pack(codes, 16).hex() == "abcd"


def test_a_prefix_of_whole_frames_is_a_prefix_of_the_bytes():
    codes = np.random.default_rng(0).integers(0, 1024, (4, 10))
    assert pack(codes, 1024).startswith(pack(codes[:, :6], 1024))


@pytest.mark.parametrize("codes", [[[-1]], [[16]]])
def test_a_code_outside_its_book_is_refused(codes):
    with pytest.raises(CodesError, match="expected 0 to 15"):
        pack(np.array(codes), 16)


def test_codes_without_a_book_axis_are_refused():
    with pytest.raises(ShapeError, match="expected"):
        pack(np.zeros(4, np.int64), 16)


def test_a_wrong_number_of_bytes_is_refused():
    with pytest.raises(BitstreamError, match="need 5"):
        unpack(bytes(4), 4, 1, 1024)


def test_padding_that_is_not_zero_is_refused():
    with pytest.raises(BitstreamError, match="padding"):
        unpack(b"\x01", 1, 1, 16)


def test_a_code_beyond_a_book_that_is_no_power_of_two_is_refused():
    with pytest.raises(BitstreamError, match="code 3"):
        unpack(b"\xc0", 1, 1, 3)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=64), sizes, st.integers(0, 8), st.integers(0, 8))
def test_any_bytes_are_unpacked_in_range_or_refused(packed, codebook_size, books, frames):
    try:
        codes = unpack(packed, books, frames, codebook_size)
    except BitstreamError:
        return
    assert codes.shape == (books, frames)
    assert not codes.size or 0 <= codes.min() <= codes.max() < codebook_size
