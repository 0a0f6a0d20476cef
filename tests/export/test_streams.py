"""Streams of odd chunks: same codes and audio as the whole, exact lengths, a clear end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.errors import AudioError, CodesError, ShapeError, StreamClosedError
from sotto.export.streams import StreamDecoder, StreamEncoder

cuts = st.lists(st.integers(0, 1500), max_size=8)


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def pieces(array, plan):
    """`array` cut along its last axis into the lengths of `plan`."""
    return np.split(array, np.cumsum(plan)[:-1], axis=-1) if plan else []


def encode(codec, audio, plan, **options):
    stream = StreamEncoder(codec, **options)
    found = [stream.push(piece) for piece in pieces(audio, plan)]
    return np.concatenate([*found, stream.flush()], axis=1), stream


@settings(max_examples=30, deadline=None)
@given(plan=cuts)
def test_codes_do_not_depend_on_the_chunks_to_the_bit(tiny_codec, plan):
    audio = noise(sum(plan))
    codes, stream = encode(tiny_codec, audio, plan)
    assert np.array_equal(codes, tiny_codec.encode(audio[None, None])[0])
    assert stream.samples == len(audio)
    assert stream.frames == tiny_codec.info.num_frames(len(audio)) == codes.shape[1]


@settings(max_examples=30, deadline=None)
@given(plan=st.lists(st.integers(0, 4), max_size=8), missing=st.integers(0, 479))
def test_audio_does_not_depend_on_the_chunks(tiny_codec, plan, missing):
    frames, info = sum(plan), tiny_codec.info
    codes = np.random.default_rng(frames).integers(0, info.codebook_size, (2, frames))
    length = max(frames * info.frame_size - info.delay_samples - missing, 0)
    whole = tiny_codec.decode(codes[None], length)[0, 0]
    stream = StreamDecoder(tiny_codec, num_samples=length)
    heard = [stream.push(piece) for piece in pieces(codes, plan)]
    stream.flush()
    audio = np.concatenate([np.zeros(0, np.float32), *heard])
    assert audio.shape == whole.shape
    np.testing.assert_allclose(audio, whole, atol=1e-6)
    assert stream.samples == length
    assert stream.frames == frames


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481, 960, 24_000])
def test_there_and_back_has_the_length_of_the_input(tiny_codec, samples):
    codes, _ = encode(tiny_codec, noise(samples), [samples])
    decoder = StreamDecoder(tiny_codec, num_samples=samples)
    heard = decoder.push(codes)
    decoder.flush()
    assert heard.shape == (samples,)
    assert heard.dtype == np.float32


def test_audio_comes_as_soon_as_its_frame_is_full(tiny_codec):
    encoder, decoder = StreamEncoder(tiny_codec), StreamDecoder(tiny_codec)
    heard = [len(decoder.push(encoder.push(noise(480)))) for _ in range(5)]
    assert heard == [0, 480, 480, 480, 480]  # the first frame is the delay
    assert encoder.push(noise(479)).shape == (tiny_codec.info.num_codebooks, 0)
    assert encoder.push(noise(1)).shape == (tiny_codec.info.num_codebooks, 1)


def test_a_chunk_of_many_seconds_equals_small_ones(tiny_codec):
    audio = noise(480 * 250 + 7)
    large, _ = encode(tiny_codec, audio, [len(audio)])
    small, _ = encode(tiny_codec, audio, [1200] * 100 + [len(audio) - 120_000])
    assert np.array_equal(large, small)


def test_the_number_of_books_may_change_in_the_middle(tiny_codec):
    audio = noise(480 * 6)
    whole = tiny_codec.encode(audio[None, None])[0]
    stream = StreamEncoder(tiny_codec, num_codebooks=3)
    first = stream.push(audio[: 480 * 2])
    stream.num_codebooks = 1
    second = stream.push(audio[480 * 2 : 480 * 4])
    stream.num_codebooks = tiny_codec.info.num_codebooks
    rest = np.concatenate([stream.push(audio[480 * 4 :]), stream.flush()], axis=1)
    assert np.array_equal(first, whole[:3, :2])
    assert np.array_equal(second, whole[:1, 2:4])
    assert np.array_equal(rest, whole[:, 4:])
    decoder, marked = StreamDecoder(tiny_codec), whole.copy()
    marked[3:, :2] = -1
    marked[1:, 2:4] = -1
    heard = np.concatenate([decoder.push(piece) for piece in (first, second, rest)])
    np.testing.assert_allclose(heard, tiny_codec.decode(marked[None])[0, 0], atol=1e-6)


@pytest.mark.parametrize("books", [0, -1, 5, 100])
def test_books_that_the_model_lacks_are_refused(tiny_codec, books):
    with pytest.raises(CodesError, match=f"num_codebooks={books}"):
        StreamEncoder(tiny_codec, num_codebooks=books)
    stream = StreamEncoder(tiny_codec, num_codebooks=2)
    with pytest.raises(CodesError, match=f"num_codebooks={books}"):
        stream.num_codebooks = books
    assert stream.num_codebooks == 2


def test_bad_audio_is_refused_and_changes_nothing(tiny_codec):
    audio = noise(2000)
    stream = StreamEncoder(tiny_codec)
    codes = [stream.push(audio[:700])]
    bad = audio[700:].copy()
    bad[5] = np.nan
    with pytest.raises(AudioError, match=r"sample 705 .*is nan"):
        stream.push(bad)
    with pytest.raises(AudioError, match="int16"):
        stream.push(bad[:3].astype(np.int16))
    with pytest.raises(ShapeError, match=r"mono chunks \[S\]"):
        stream.push(bad[None])
    codes += [stream.push(audio[700:]), stream.flush()]
    assert np.array_equal(np.concatenate(codes, 1), tiny_codec.encode(audio[None, None])[0])


def test_bad_codes_are_refused_and_change_nothing(tiny_codec):
    codes = np.random.default_rng(0).integers(0, 16, (4, 250))
    stream = StreamDecoder(tiny_codec)
    heard = [stream.push(codes[:, :3])]
    for place in (5, 249):  # in the first and in a later block of the piece
        bad = codes.copy()
        bad[2, place] = 99
        with pytest.raises(CodesError, match="99"):
            stream.push(bad)
    with pytest.raises(ShapeError, match=r"\[k, n\]"):
        stream.push(codes[None])
    with pytest.raises(ShapeError, match="k from 1 to 4"):
        stream.push(np.zeros((5, 1), np.int64))
    heard.append(stream.push(codes[:, 3:]))
    np.testing.assert_allclose(
        np.concatenate(heard), tiny_codec.decode(codes[None])[0, 0], atol=1e-6
    )


def test_after_flush_a_stream_is_closed(tiny_codec):
    encoder, decoder = StreamEncoder(tiny_codec), StreamDecoder(tiny_codec)
    encoder.flush()
    decoder.flush()
    for use in (
        lambda: encoder.push(noise(10)),
        encoder.flush,
        lambda: decoder.push(np.zeros((1, 1), np.int64)),
        decoder.flush,
    ):
        with pytest.raises(StreamClosedError, match="flushed"):
            use()


def test_frames_that_are_missing_at_the_end_are_an_error(tiny_codec):
    stream = StreamDecoder(tiny_codec, num_samples=961)
    stream.push(np.zeros((1, 3), np.int64))
    with pytest.raises(CodesError, match="3 frames hold 960 samples, but num_samples=961"):
        stream.flush()


def test_a_negative_length_is_refused(tiny_codec):
    with pytest.raises(ShapeError, match="cannot be negative"):
        StreamDecoder(tiny_codec, num_samples=-1)


def test_the_caller_may_reuse_its_buffer(tiny_codec):
    audio, buffer = noise(1000), np.zeros(100, np.float32)
    stream, found = StreamEncoder(tiny_codec), []
    for start in range(0, 1000, 100):
        buffer[:] = audio[start : start + 100]
        found.append(stream.push(buffer))
    found.append(stream.flush())
    assert np.array_equal(np.concatenate(found, 1), tiny_codec.encode(audio[None, None])[0])
