"""The int8 decoder: a drop-in for the float one, and exact in a stream."""

import numpy as np
import onnx
import pytest

from sotto.codec.errors import BundleError, ShapeError
from sotto.export.int8 import quantize_bundle
from sotto.export.runtime import Codec


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal((1, 1, samples)).astype(np.float32)


@pytest.fixture(scope="module")
def int8_bundle(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    quantize_bundle(tiny_bundle, folder, noise(480 * 60))
    return folder


@pytest.fixture(scope="module")
def codec(int8_bundle):
    return Codec(int8_bundle)


def test_codes_and_identity_stay_the_same(codec, tiny_codec):
    audio = noise(480 * 30, seed=1)
    assert codec.info == tiny_codec.info
    np.testing.assert_array_equal(codec.encode(audio), tiny_codec.encode(audio))


def test_the_audio_is_nearly_that_of_float32_and_not_the_same(codec, tiny_codec):
    codes = tiny_codec.encode(noise(480 * 50, seed=2))
    expected, found = tiny_codec.decode(codes), codec.decode(codes)
    error = np.square(found - expected).mean() / np.square(expected).mean()
    assert 0 < error < 1e-3


def test_chunks_and_neighbours_do_not_change_a_bit(codec):
    codes = codec.encode(np.concatenate([noise(480 * 12, seed) for seed in (3, 4, 5)]))
    whole = codec.decode(codes)
    state, parts = codec.decoder_state(), []
    for piece in np.split(codes[1:2], [1, 4, 5], axis=2):
        audio, state = codec.decode_step(piece, state)
        parts.append(audio)
    heard = np.concatenate(parts, axis=2)[:, :, codec.info.delay_samples :]
    np.testing.assert_array_equal(heard, whole[1:2])


def test_perceptrons_are_int8_and_the_rest_is_not(int8_bundle):
    graph = onnx.load(int8_bundle / "decoder.onnx").graph
    small = [
        t for t in graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2
    ]
    assert len(small) == 2  # one block: expand and contract
    assert any(
        t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2 for t in graph.initializer
    )


def test_a_bundle_is_not_overwritten_by_itself(tiny_bundle):
    with pytest.raises(BundleError, match="name another folder"):
        quantize_bundle(tiny_bundle, tiny_bundle, noise(4800))


def test_no_speech_is_refused(tiny_bundle, tmp_path):
    with pytest.raises(ShapeError, match="at least one frame"):
        quantize_bundle(tiny_bundle, tmp_path / "new", noise(100))
    assert not (tmp_path / "new").exists()
