"""`.sotto` files are cut, joined and re-rated without a model."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.bitstream import (
    Header,
    SottoReader,
    create,
    cut,
    join,
    rerate,
)
from sotto.codec.errors import (
    CodesError,
    ConfigError,
)
from sotto.codec.info import ModelInfo

FRAME, DELAY = 480, 480
INFO = ModelInfo("tiny", "1", "ab" * 32, 24000, FRAME, 4, 1024, DELAY)
HEADER = Header.for_model(INFO)
STEREO = Header.for_model(INFO, num_codebooks=3, channels=2, source_sample_rate=44100)
NUM_SAMPLES = 53_000  # 112 frames: two blocks of 50 and one of 12


def save(path, header, num_samples, seed=0):
    shape = (header.channels, header.num_codebooks, header.num_frames(num_samples))
    codes = np.random.default_rng(seed).integers(0, header.codebook_size, shape)
    with create(path, header) as writer:
        writer.write(codes)
        writer.finish(num_samples)
    return codes


def test_a_cut_has_the_frames_of_its_time_and_an_exact_end(tmp_path):
    codes = save(tmp_path / "a.sotto", HEADER, NUM_SAMPLES)
    cut(tmp_path / "a.sotto", tmp_path / "b.sotto", 0.5, 1.23)
    with SottoReader(tmp_path / "b.sotto") as reader:
        assert reader.num_samples == 29_520 - 25 * FRAME
        assert reader.num_frames == HEADER.num_frames(reader.num_samples)
        got = np.concatenate(list(reader.codes()), axis=2)
    assert np.array_equal(got, codes[:, :, 25 : 25 + got.shape[2]])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60_000), st.lists(st.integers(1, 110), max_size=3, unique=True))
def test_parts_cut_at_whole_frames_join_to_the_same_file(tmp_path_factory, num_samples, frames):
    folder = tmp_path_factory.mktemp("cut")
    save(folder / "a.sotto", STEREO, num_samples)
    frames = sorted(frame for frame in frames if frame * FRAME < num_samples)
    times = [0.0, *(frame * FRAME / 24_000 for frame in frames), None]
    parts = []
    for i, (start, stop) in enumerate(pairwise(times)):
        parts.append(folder / f"{i}.sotto")
        cut(folder / "a.sotto", parts[-1], start, stop)
    join(parts, folder / "b.sotto")
    assert (folder / "b.sotto").read_bytes() == (folder / "a.sotto").read_bytes()


@pytest.mark.parametrize(
    ("start", "stop"), [(1, 1), (2, 1), (3, None), (2.21, 2.3), (-1, 1), (0, float("inf"))]
)
def test_a_cut_of_nothing_is_refused(tmp_path, start, stop):
    save(tmp_path / "a.sotto", HEADER, NUM_SAMPLES)
    with pytest.raises(ConfigError):
        cut(tmp_path / "a.sotto", tmp_path / "b.sotto", start, stop)
    assert not (tmp_path / "b.sotto").exists()


def test_files_of_any_length_join_with_each_part_at_a_whole_frame(tmp_path):
    lengths = [1_000, 0, 481, 7_777]
    paths = [tmp_path / f"{i}.sotto" for i in range(4)]
    codes = [
        save(path, HEADER, n, i) for i, (path, n) in enumerate(zip(paths, lengths, strict=True))
    ]
    join(paths, tmp_path / "all.sotto")
    with SottoReader(tmp_path / "all.sotto") as reader:
        assert reader.num_samples == 3 * FRAME + 2 * FRAME + 7_777
        got = np.concatenate(list(reader.codes()), axis=2)
    expected = [codes[0][:, :, :3], codes[2][:, :, :2], codes[3]]
    assert np.array_equal(got, np.concatenate(expected, axis=2))


def test_empty_files_join_to_an_empty_file(tmp_path):
    save(tmp_path / "a.sotto", HEADER, 0)
    join([tmp_path / "a.sotto"] * 2, tmp_path / "b.sotto")
    with SottoReader(tmp_path / "b.sotto") as reader:
        assert reader.num_samples == reader.num_frames == 0


def test_files_that_differ_do_not_join(tmp_path):
    save(tmp_path / "a.sotto", HEADER, 1_000)
    save(tmp_path / "b.sotto", STEREO, 1_000)
    with pytest.raises(ConfigError, match=r"b\.sotto has channels=2, but .*a\.sotto has 1"):
        join([tmp_path / "a.sotto", tmp_path / "b.sotto"], tmp_path / "c.sotto")
    with pytest.raises(ConfigError, match="nothing to join"):
        join([], tmp_path / "c.sotto")


def test_rerating_keeps_the_first_books_and_the_lengths(tmp_path):
    codes = save(tmp_path / "a.sotto", STEREO, NUM_SAMPLES)
    rerate(tmp_path / "a.sotto", tmp_path / "b.sotto", 2)
    with SottoReader(tmp_path / "b.sotto") as reader:
        assert reader.header == replace(STEREO, num_codebooks=2)
        assert reader.num_samples == NUM_SAMPLES
        assert np.array_equal(np.concatenate(list(reader.codes()), axis=2), codes[:, :2])
    for books in (0, 4):
        with pytest.raises(CodesError, match="1 to 3"):
            rerate(tmp_path / "a.sotto", tmp_path / "b.sotto", books)


def test_a_file_can_be_replaced_by_its_own_cut(tmp_path):
    codes = save(tmp_path / "a.sotto", HEADER, NUM_SAMPLES)
    cut(tmp_path / "a.sotto", tmp_path / "a.sotto", 1.0)
    with SottoReader(tmp_path / "a.sotto") as reader:
        assert np.array_equal(np.concatenate(list(reader.codes()), axis=2), codes[:, :, 50:])
