"""Beam search in the exported encoder: the codes of torch, for what is asked at run time."""

import numpy as np
import onnx
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


def test_the_graph_says_its_beam_and_takes_it_and_the_books_as_inputs(
    beam_bundle, codec, tiny_codec
):
    session = onnxruntime.InferenceSession(beam_bundle / "encoder.onnx")
    assert session.get_modelmeta().custom_metadata_map["beam_size"] == str(WIDTH)
    inputs = {given.name: given for given in session.get_inputs()}
    assert (inputs["num_codebooks"].type, inputs["beam"].type) == ("tensor(int64)", "tensor(bool)")
    assert (len(inputs["num_codebooks"].shape), inputs["beam"].shape) == (1, [])
    assert (codec.beam_sizes, tiny_codec.beam_sizes) == ((1, WIDTH), (1,))
    assert (codec.beam_size, tiny_codec.beam_size) == (WIDTH, 1)


def test_both_searches_share_the_encoder_and_its_weights(beam_bundle, tiny_bundle):
    joined, greedy = (onnx.load(b / "encoder.onnx").graph for b in (beam_bundle, tiny_bundle))
    assert {t.name for t in greedy.initializer} <= {t.name for t in joined.initializer}
    assert sum(len(t.raw_data) for t in joined.initializer) < 1.05 * sum(
        len(t.raw_data) for t in greedy.initializer
    )
    assert joined.node[-1].op_type == "If"
    assert len(joined.node) > 0.5 * len(greedy.node)


def test_greedy_search_in_the_same_graph_gives_the_codes_of_the_greedy_graph(
    beam_bundle, tiny_codec
):
    audio = noise(480 * 40, batch=2)
    greedy = Codec(beam_bundle, beam_size=1)
    assert greedy.beam_size == 1
    assert np.array_equal(greedy.encode(audio), tiny_codec.encode(audio))


def test_the_search_may_change_from_step_to_step(codec, tiny_codec):
    audio, frames = noise(480 * 40), 480 * 20
    first, state = codec.encode_step(audio[:, :, :frames], codec.encoder_state(), beam_size=1)
    second, _ = codec.encode_step(audio[:, :, frames:], state)
    assert np.array_equal(first, tiny_codec.encode(audio)[:, :, :20])
    assert np.array_equal(second, codec.encode(audio)[:, :, 20:40])


@pytest.mark.parametrize("beam_size", [0, 2, 4])
def test_a_beam_that_was_not_exported_is_refused(beam_bundle, codec, tiny_codec, beam_size):
    with pytest.raises(ConfigError, match=f"beam_size={beam_size}, but .* searches with 1 or 3"):
        Codec(beam_bundle, beam_size=beam_size)
    with pytest.raises(ConfigError, match="searches with 1 or 3"):
        codec.encode_step(noise(480), codec.encoder_state(), beam_size=beam_size)
    with pytest.raises(ConfigError, match="searches with 1;"):
        tiny_codec.choose_beam(beam_size)


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
