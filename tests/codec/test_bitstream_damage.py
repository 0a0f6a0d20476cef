"""Damaged, cut short and hostile `.sotto` files: found, named, kept in their block, bounded."""

import io
import os
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.bitstream import (
    Header,
    SottoReader,
    SottoWriter,
    read_header,
)
from sotto.codec.errors import (
    BitstreamError,
    CodecError,
    ConfigError,
)
from sotto.codec.info import ModelInfo

FRAME, DELAY = 480, 480
INFO = ModelInfo("tiny", "1", "ab" * 32, 24000, FRAME, 4, 1024, DELAY)
HEADER = Header.for_model(INFO)
STEREO = Header.for_model(INFO, num_codebooks=3, channels=2, source_sample_rate=44100)
NUM_SAMPLES = 53_000  # 112 frames: two blocks of 50 and one of 12


def example(header=HEADER, num_samples=NUM_SAMPLES, seed=0):
    shape = (header.channels, header.num_codebooks, header.num_frames(num_samples))
    codes = np.random.default_rng(seed).integers(0, header.codebook_size, shape)
    sink = io.BytesIO()
    writer = SottoWriter(sink, header)
    writer.write(codes)
    writer.finish(num_samples)
    return codes, sink.getvalue()


def all_codes(data, errors="raise"):
    reader = SottoReader(io.BytesIO(data), errors)
    empty = np.empty((reader.header.channels, reader.header.num_codebooks, 0), np.int64)
    return np.concatenate([empty, *reader.codes()], axis=2)


def with_crc(data):
    return data + struct.pack("<I", zlib.crc32(data))


def block_span(index, header=HEADER):
    size = 12 + header.payload_bytes(header.block_frames) + 4
    return header.size + index * size, header.size + (index + 1) * size


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found_and_stays_in_its_block(data):
    codes, original = example()
    place = data.draw(st.integers(0, len(original) - 1))
    damaged = bytearray(original)
    damaged[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BitstreamError):
        all_codes(bytes(damaged))
    if place < HEADER.size:
        return  # nothing can be read without the header
    got = all_codes(bytes(damaged), "conceal")
    assert got.shape == codes.shape
    lost = (got < 0).any(axis=(0, 1))
    assert np.array_equal(got[:, :, ~lost], codes[:, :, ~lost])
    touched = min((place - HEADER.size) // (block_span(0)[1] - HEADER.size), 2)
    in_end_record = place >= len(original) - 24
    assert set(np.flatnonzero(lost) // 50) == (set() if in_end_record else {touched})


def test_the_error_names_the_block_and_its_place(tmp_path):
    path = tmp_path / "a.sotto"
    data = bytearray(example()[1])
    start, stop = block_span(1)
    data[stop - 1] ^= 1
    path.write_bytes(bytes(data))
    with (
        SottoReader(path) as reader,
        pytest.raises(BitstreamError, match=rf"a\.sotto: block 1 at byte {start}: block: CRC"),
    ):
        list(reader.codes())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_truncated_file_is_an_error_or_gives_its_whole_blocks(size):
    codes, data = example()
    data = data[: size % len(data)]
    with pytest.raises(BitstreamError):
        SottoReader(io.BytesIO(data))
    if len(data) < HEADER.size:
        with pytest.raises(BitstreamError):
            SottoReader(io.BytesIO(data), "conceal")
        return
    reader = SottoReader(io.BytesIO(data), "conceal")
    assert reader.recovered
    got = all_codes(data, "conceal")
    whole = [stop for stop in (block_span(0)[1], block_span(1)[1]) if stop <= len(data)]
    frames = 112 if len(data) >= len(example()[1]) - 24 else 50 * len(whole)
    assert reader.num_frames == got.shape[2] == frames
    assert np.array_equal(got, codes[:, :, :frames])
    assert reader.num_samples == max(0, frames * FRAME - DELAY)


@pytest.mark.parametrize("delay_samples", [0, 1, 481, 70 * FRAME, 120 * FRAME])
def test_a_truncated_file_of_any_delay_is_read(delay_samples):
    header = replace(HEADER, delay_samples=delay_samples)
    codes, data = example(header)
    reader = SottoReader(io.BytesIO(data[: block_span(2)[0]]), "conceal")
    assert reader.num_samples == max(0, 100 * FRAME - delay_samples)
    got = np.concatenate([codes[:, :, :0], *reader.codes()], axis=2)
    assert np.array_equal(got, codes[:, :, : reader.num_frames])
    assert reader.num_frames == (100 if reader.num_samples else 0)


def test_another_way_to_treat_errors_is_refused():
    with pytest.raises(ConfigError, match="expected one of raise, conceal"):
        SottoReader(io.BytesIO(example()[1]), "ignore")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lost_or_added_bytes_cost_one_or_two_blocks_and_no_timing(data):
    codes, original = example()
    place = data.draw(st.integers(HEADER.size, len(original) - 25))
    if data.draw(st.booleans()):
        damaged = original[:place] + data.draw(st.binary(min_size=1, max_size=9)) + original[place:]
    else:
        damaged = original[:place] + original[place + data.draw(st.integers(1, 9)) :]
    got = all_codes(damaged, "conceal")
    if got.shape != codes.shape:  # the end record itself was hit
        assert place > len(original) - 24 - 9
        return
    lost = (got < 0).any(axis=(0, 1))
    assert np.array_equal(got[:, :, ~lost], codes[:, :, ~lost])
    assert len(set(np.flatnonzero(lost) // 50)) <= 2


def test_a_missing_block_is_absent_and_the_rest_keeps_its_time():
    codes, data = example()
    start, stop = block_span(1)
    got = all_codes(data[:start] + data[stop:], "conceal")
    assert (got[:, :, 50:100] == -1).all()
    assert np.array_equal(got[:, :, :50], codes[:, :, :50])
    assert np.array_equal(got[:, :, 100:], codes[:, :, 100:])


def test_swapped_blocks_are_found():
    _, data = example()
    (a, b), (_, c) = block_span(0), block_span(1)
    swapped = data[:a] + data[b:c] + data[a:b] + data[c:]
    with pytest.raises(BitstreamError, match="its index is 1"):
        all_codes(swapped)
    assert (all_codes(swapped, "conceal")[:, :, :100] == -1).all()


def test_bytes_after_the_end_are_an_error_or_ignored():
    codes, data = example()
    with pytest.raises(BitstreamError):
        SottoReader(io.BytesIO(data + b"\n"))
    assert np.array_equal(all_codes(data + b"\n", "conceal"), codes)


# Hostile input


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a .sotto file"),
        (b"RIFF....WAVE", "not a .sotto file"),
        (b"\x89SOTTO\r\n", "truncated"),
        (b"\x89SOTTO\n", "not a .sotto file"),
        (b"\x89SOTTO\r\n\x02\x00\x80\x00", "version 2"),
        (b"\x89SOTTO\r\n\x01\x00\xff\xff", "65535 bytes"),
        (b"\x89SOTTO\r\n\x01\x00\x00\x00", "0 bytes"),
    ],
)
def test_what_is_not_a_sotto_file_is_refused(data, message):
    for errors in ("raise", "conceal"):
        with pytest.raises(BitstreamError, match=message):
            SottoReader(io.BytesIO(data), errors)


def test_an_unknown_coding_is_a_clear_error():
    data = bytearray(HEADER.to_bytes()[:-4])
    data[12] = 1
    with pytest.raises(BitstreamError, match="coding 1 is unknown"):
        read_header(io.BytesIO(with_crc(bytes(data))))


def fields(*limits):
    """Values inside the limits, with one now and then that is not."""
    return st.tuples(
        *(st.integers(*limit) | st.sampled_from([0, limit[1] + 1]) for limit in limits)
    )


@settings(max_examples=200, deadline=None)
@given(
    fields((1, 32), (1, 256), (1, 3000), (1, 65534)),
    fields((2, 65536), (4000, 384_000), (4000, 384_000), (1, 1 << 20)),
    st.sampled_from([b"\x04tiny\x011", b"\x02\xc3\xa9\x011"]) | st.binary(max_size=20),
)
def test_headers_with_a_right_checksum_and_any_fields_are_bounded(shorts, longs, names):
    fixed = struct.pack("<BBHHH4I32s", 0, *shorts, *longs, bytes(32))
    prefix = b"\x89SOTTO\r\n" + struct.pack("<HH", 1, 12 + len(fixed) + len(names) + 4)
    data = with_crc(prefix + fixed + names)
    try:
        header = read_header(io.BytesIO(data))
    except BitstreamError:
        return
    assert header.payload_bytes(header.block_frames) <= 65535
    assert header.to_bytes() == data


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=30)), max_size=4))
def test_any_bytes_give_codes_or_a_codec_error(patches):
    data = bytearray(example(STEREO)[1])
    for place, patch in patches:
        place %= len(data)
        data[place : place + len(patch) // 2] = patch
    for errors in ("raise", "conceal"):
        try:
            all_codes(bytes(data), errors)
        except CodecError:
            continue


@pytest.mark.parametrize("num_samples", [1 << 47, (1 << 64) - 1])
def test_a_claim_of_endless_length_takes_no_memory(num_samples):
    _, data = example()
    claim = with_crc(b"\xf5END" + struct.pack("<QQ", num_samples, num_samples))
    hostile = data[:-24] + claim
    tracemalloc.start()
    with pytest.raises(BitstreamError):
        SottoReader(io.BytesIO(hostile))
    assert np.array_equal(all_codes(hostile, "conceal"), all_codes(data))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_block_that_claims_a_far_index_is_not_believed():
    codes, data = example()
    start, stop = block_span(1)
    far = with_crc(
        data[start : start + 2] + struct.pack("<I", 1 << 31) + data[start + 6 : stop - 4]
    )
    got = all_codes(data[:start] + far + data[stop:-24], "conceal")
    assert got.shape == codes.shape
    assert (got[:, :, 50:100] == -1).all()


def test_lengths_at_two_rates_that_disagree_are_refused():
    _, data = example()
    claim = with_crc(b"\xf5END" + struct.pack("<QQ", NUM_SAMPLES, 1 << 40))
    with pytest.raises(BitstreamError, match="not one recording"):
        SottoReader(io.BytesIO(data[:-24] + claim))


def test_a_missing_file_and_a_pipe_are_clear_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.sotto", "pipe", ""):
        with pytest.raises(BitstreamError, match="no file"):
            SottoReader(tmp_path / name)

    class Pipe(io.BytesIO):
        def seek(self, *_):
            raise io.UnsupportedOperation

    with pytest.raises(BitstreamError, match="cannot seek"):
        SottoReader(Pipe(example()[1]))
