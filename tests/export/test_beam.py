"""Beam search in the exported encoder: the codes of torch, for the depth that is asked at run time."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.errors import CodesError, ConfigError
from sotto.export.onnx import export_bundle
from sotto.export.runtime import Codec
from sotto.export.streams import StreamEncoder

K, WIDTH = 4, 3


@pytest.fixture(scope="module")
def codec(beam_bundle):
    return Codec(beam_bundle)


def noise(samples, batch=1, seed=0):
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal((batch, 1, samples))).astype(np.float32)


def test_the_graph_says_its_beam_and_takes_the_books_as_an_input(beam_bundle, codec, tiny_codec):
    session = onnxruntime.InferenceSession(beam_bundle / "encoder.onnx")
    assert session.get_modelmeta().custom_metadata_map["beam_size"] == str(WIDTH)
    (books,) = [given for given in session.get_inputs() if given.name == "num_codebooks"]
    assert books.type == "tensor(int64)"
    assert len(books.shape) == 1
    assert (codec.beam_size, tiny_codec.beam_size) == (WIDTH, 1)


def test_the_codes_mean_the_same_as_those_of_greedy_search(codec, tiny_codec):
    assert codec.info == tiny_codec.info
    audio = noise(480 * 20)
    assert not np.array_equal(codec.encode(audio), tiny_codec.encode(audio))
    codes = codec.encode(audio, num_codebooks=2)
    assert np.array_equal(codec.decode(codes), tiny_codec.decode(codes))


def test_codes_equal_torch_at_every_depth(codec, tiny_model):
    audio = noise(480 * 30, batch=K)
    depth = torch.arange(1, K + 1)
    state = tiny_model.encoder.init_state(K)
    codes, _ = tiny_model.encode(torch.from_numpy(audio), state, depth, WIDTH)
    found, _ = codec.encode_step(audio, codec.encoder_state(K), depth.tolist())
    assert (found == codes.numpy()).mean() >= 0.999
    for item, books in enumerate(depth.tolist()):
        assert (found[item, :books] >= 0).all()
        assert (found[item, books:] == -1).all()


@settings(max_examples=20, deadline=None)
@given(plan=st.lists(st.integers(0, 1500), max_size=6), books=st.integers(1, K))
def test_codes_do_not_depend_on_the_chunks_to_the_bit(codec, plan, books):
    audio = noise(sum(plan))
    stream = StreamEncoder(codec, books)
    pieces = np.split(audio[0, 0], np.cumsum(plan)[:-1]) if plan else []
    codes = np.concatenate([*(stream.push(piece) for piece in pieces), stream.flush()], axis=1)
    assert np.array_equal(codes, codec.encode(audio, num_codebooks=books)[0])


def test_codes_do_not_depend_on_who_shares_the_batch_to_the_bit(codec):
    audio = noise(480 * 12, batch=6)
    depth = [1, 2, 3, 4, 2, 4]
    codes, _ = codec.encode_step(audio, codec.encoder_state(6), depth)
    for item, books in enumerate(depth):
        alone, _ = codec.encode_step(audio[item : item + 1], codec.encoder_state(1), books)
        assert np.array_equal(alone[0], codes[item])


def test_the_number_of_books_may_change_between_chunks(codec):
    audio = noise(480 * 6)
    stream = StreamEncoder(codec, 3)
    first = stream.push(audio[0, 0, : 480 * 2])
    stream.num_codebooks = 1
    second = stream.push(audio[0, 0, 480 * 2 :])
    assert np.array_equal(first, codec.encode(audio, num_codebooks=3)[0, :, :2])
    assert np.array_equal(second, codec.encode(audio, num_codebooks=1)[0, :, 2:6])


@pytest.mark.parametrize("books", [0, K + 1, [1, 2], [5]])
def test_books_that_the_model_lacks_are_refused(codec, books):
    with pytest.raises(CodesError, match="num_codebooks"):
        codec.encode_step(noise(480), codec.encoder_state(), books)


def test_a_beam_wider_than_the_book_is_refused(make_model, tmp_path):
    with pytest.raises(ConfigError, match="beam_size=17; expected 1 to 16"):
        export_bundle(make_model(), tmp_path, speech=torch.zeros(1, 1, 960), beam_size=17)
