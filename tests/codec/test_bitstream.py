"""`.sotto` files: what is written in any pieces is read back, whole or in part."""

import io
import os
import re
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.bitstream import (
    Header,
    SottoReader,
    SottoWriter,
    create,
    read_header,
)
from sotto.codec.errors import (
    BitstreamError,
    CodesError,
    ConfigError,
    IdentityError,
    ShapeError,
    StreamClosedError,
)
from sotto.codec.info import ModelInfo

FRAME, DELAY = 480, 480
INFO = ModelInfo("tiny", "1", "ab" * 32, 24000, FRAME, 4, 1024, DELAY)
HEADER = Header.for_model(INFO)
STEREO = Header.for_model(INFO, num_codebooks=3, channels=2, source_sample_rate=44100)
NUM_SAMPLES = 53_000  # 112 frames: two blocks of 50 and one of 12


def some_codes(header, num_samples, seed=0):
    shape = (header.channels, header.num_codebooks, header.num_frames(num_samples))
    return np.random.default_rng(seed).integers(0, header.codebook_size, shape)


def file_bytes(header, codes, num_samples, pieces=None):
    sink = io.BytesIO()
    writer = SottoWriter(sink, header)
    position = 0
    for size in pieces or []:
        writer.write(codes[:, :, position : position + size])
        position += size
    writer.write(codes[:, :, position:])
    writer.finish(num_samples)
    assert writer.num_bytes == len(sink.getvalue())
    return sink.getvalue()


def example(header=HEADER, num_samples=NUM_SAMPLES, seed=0):
    codes = some_codes(header, num_samples, seed)
    return codes, file_bytes(header, codes, num_samples)


def all_codes(data, errors="raise"):
    reader = SottoReader(io.BytesIO(data), errors)
    empty = np.empty((reader.header.channels, reader.header.num_codebooks, 0), np.int64)
    return np.concatenate([empty, *reader.codes()], axis=2)


def block_span(index, header=HEADER):
    size = 12 + header.payload_bytes(header.block_frames) + 4
    return header.size + index * size, header.size + (index + 1) * size


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 60_000),
    st.lists(st.integers(0, 70), max_size=5),
    st.sampled_from([HEADER, STEREO, replace(HEADER, block_frames=1)]),
)
def test_any_length_written_in_any_pieces_is_read_back(num_samples, pieces, header):
    codes = some_codes(header, num_samples)
    data = file_bytes(header, codes, num_samples, pieces)
    assert data == file_bytes(header, codes, num_samples)
    reader = SottoReader(io.BytesIO(data))
    assert reader.header == header
    assert reader.num_samples == num_samples
    assert reader.num_frames == codes.shape[2] == sum(b.num_frames for b in reader.blocks())
    assert np.array_equal(all_codes(data), codes)


def test_a_header_is_read_without_the_rest():
    _, data = example(STEREO)
    assert read_header(io.BytesIO(data[: STEREO.size])) == STEREO


def test_a_sink_that_cannot_seek_gives_the_same_file():
    class Pipe:
        def __init__(self):
            self.data = b""

        def write(self, data):
            self.data += data

    codes, data = example()
    pipe = Pipe()
    writer = SottoWriter(pipe, HEADER)
    writer.write(codes)
    writer.finish(NUM_SAMPLES)
    assert pipe.data == data


def test_any_stretch_of_frames_is_read_without_the_blocks_around_it():
    codes, data = example()
    damaged = bytearray(data)
    damaged[block_span(0)[0] + 20] ^= 1
    reader = SottoReader(io.BytesIO(bytes(damaged)))
    for start, stop in [(50, 60), (99, 101), (70, 112), (111, 500)]:
        got = np.concatenate(list(reader.codes(start, stop)), axis=2)
        assert np.array_equal(got, codes[:, :, start:stop])


def test_a_time_is_found_without_reading_what_is_before_it():
    codes, data = example()
    reader = SottoReader(io.BytesIO(data))
    assert [reader.frame_at(t) for t in (0, 0.019, 0.02, 1.5, 1000)] == [0, 0, 1, 75, 111]
    block = next(iter(reader.blocks(reader.frame_at(1.5))))
    assert (block.index, block.first_frame) == (1, 50)
    assert np.array_equal(block.codes, codes[:, :, 50:100])
    with pytest.raises(ConfigError, match="finite time"):
        reader.frame_at(float("nan"))
    with pytest.raises(IndexError):
        reader.block(3)


def test_lengths_at_both_rates_are_kept(tmp_path):
    with create(tmp_path / "a.sotto", STEREO) as writer:
        writer.write(some_codes(STEREO, 24_000))
        writer.finish(24_000, 44_101)
    with SottoReader(tmp_path / "a.sotto") as reader:
        assert (reader.num_samples, reader.source_num_samples) == (24_000, 44_101)


def test_blocks_cost_sixteen_bytes_a_second():
    _, data = example()
    packed = 50 * 4 * 10 // 8
    assert block_span(1)[1] - block_span(1)[0] == packed + 16
    assert len(data) == HEADER.size + 2 * (packed + 16) + (12 * 4 * 10 // 8 + 16) + 24


@pytest.mark.parametrize("channels", [1, 32])
def test_blocks_of_large_models_are_shorter_so_that_they_fit(channels):
    info = replace(INFO, num_codebooks=256, codebook_size=1 << 16, frame_size=24)
    header = Header.for_model(info, channels=channels)
    assert header.payload_bytes(header.block_frames) <= 65535


# What a writer refuses


def test_wrong_shapes_codes_and_lengths_are_refused():
    writer = SottoWriter(io.BytesIO(), HEADER)
    with pytest.raises(ShapeError, match="expected"):
        writer.write(np.zeros((1, 3, 5), np.int64))
    with pytest.raises(CodesError, match="0 to 1023"):
        writer.write(np.full((1, 4, 1), 1024))
    with pytest.raises(CodesError, match="need 3"):
        writer.finish(960)


@pytest.mark.parametrize("frames", [112, 20_000])  # the second fills more than a buffer
def test_a_full_disk_is_told_and_leaves_no_file(tmp_path, frames):
    def fill():
        with create(tmp_path / "a.sotto", HEADER) as writer:
            writer.write(np.zeros((1, 4, frames), np.int64))
            writer.finish((frames - 1) * FRAME)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(BitstreamError, match=r"cannot write .*: File too large"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_finished_file_takes_no_more():
    writer = SottoWriter(io.BytesIO(), HEADER)
    writer.finish(0)
    with pytest.raises(StreamClosedError):
        writer.write(np.zeros((1, 4, 1), np.int64))
    with pytest.raises(StreamClosedError):
        writer.finish(0)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.sotto"
    path.write_bytes(b"old")
    with pytest.raises(CodesError), create(path, HEADER) as writer:
        writer.write(some_codes(HEADER, 48_000) + 1024)
    with pytest.raises(BitstreamError, match="not finished"), create(path, HEADER):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a.sotto"]
    assert path.read_bytes() == b"old"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none" / "a.sotto", tmp_path, tmp_path / "pipe"):
        with pytest.raises(BitstreamError, match="cannot write"), create(path, HEADER):
            pass
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_stays_a_link_when_its_file_is_replaced(tmp_path):
    (tmp_path / "link.sotto").symlink_to(tmp_path / "a.sotto")
    with create(tmp_path / "link.sotto", HEADER) as writer:
        writer.finish(0)
    assert (tmp_path / "link.sotto").is_symlink()
    with (tmp_path / "a.sotto").open("rb") as file:
        assert read_header(file) == HEADER


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", 0),
        ("channels", 33),
        ("num_codebooks", 0),
        ("frame_size", 0),
        ("codebook_size", 1),
        ("sample_rate", 0),
        ("source_sample_rate", 1 << 20),
        ("delay_samples", -1),
        ("block_frames", 0),
        ("block_frames", 60_000),
        ("model", ""),
        ("model", "x" * 256),
        ("model", "\x1b[2J"),
        ("identity", "no hash"),
    ],
)
def test_headers_outside_their_limits_are_refused(field, value):
    with pytest.raises(BitstreamError, match="header"):
        replace(HEADER, **{field: value})


# Another model


def test_codes_of_another_model_are_refused_by_both_names():
    other = replace(INFO, name="other", version="7", identity="cd" * 32)
    with pytest.raises(IdentityError, match=r"tiny 1 \(abab.*other 7 \(cdcd"):
        HEADER.check_model(other)
    HEADER.check_model(INFO)


@pytest.mark.parametrize(
    "changed", [{"frame_size": 240}, {"delay_samples": 0}, {"num_codebooks": 3}]
)
def test_sizes_that_contradict_the_model_are_refused(changed):
    with pytest.raises(BitstreamError):
        HEADER.check_model(replace(INFO, **changed))


# The document


def test_the_worked_example_in_the_document_is_what_the_code_writes():
    text = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    lines = re.findall(r"^[0-9a-f]{8}  ((?:[0-9a-f]{2} ){1,16})", text, re.MULTILINE)
    data = bytes.fromhex("".join(lines))
    reader = SottoReader(io.BytesIO(data))
    codes = all_codes(data)
    rows = re.findall(r"^book (\d): ([\d ]+)$", text, re.MULTILINE)
    assert codes[0].tolist() == [[int(code) for code in row.split()] for _, row in rows]
    assert (reader.num_samples, reader.source_num_samples) == (2000, 4000)
    sink = io.BytesIO()
    writer = SottoWriter(sink, reader.header)
    writer.write(codes)
    writer.finish(2000, 4000)
    assert sink.getvalue() == data


def test_the_reader_in_the_document_reads_our_files():
    text = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    namespace = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1), namespace)
    codes, data = example(STEREO)
    audio, num_samples, source_num_samples = namespace["read"](data)
    assert np.array_equal(np.array(audio).transpose(0, 2, 1), codes)
    assert (num_samples, source_num_samples) == (NUM_SAMPLES, 97_388)
