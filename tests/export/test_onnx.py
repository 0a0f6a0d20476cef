"""Export: the graphs give what torch gives, say what they are, and store little."""

import copy
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sotto.codec.config import CodecConfig, build
from sotto.codec.errors import BundleError
from sotto.codec.layers import CausalDepthwiseConv
from sotto.export import onnx as export
from sotto.export.compact import compact
from sotto.export.graphs import round_to_half
from sotto.export.onnx import describe, identity
from sotto.export.parity import check_parity
from sotto.export.runtime import Codec

SPEECH = Path(__file__).parents[2] / "bench" / "data" / "sample.flac"


@pytest.fixture(scope="module")
def speech():
    audio, _ = soundfile.read(SPEECH, dtype="float32", always_2d=True)
    return torch.from_numpy(audio[: 480 * 150, 0].copy())[None, None]


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def change_weight(path, ending, change):
    """Rewrite one float16 initializer of a graph."""
    graph = onnx.load(path)
    (tensor,) = [t for t in graph.graph.initializer if t.name.endswith(ending)]
    value = change(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))
    onnx.save(graph, path)


def test_codes_and_audio_equal_torch_on_speech(tiny_model, tiny_bundle, speech):
    parity = check_parity(tiny_model, tiny_bundle, speech)
    assert parity.equal_codes >= 0.999
    assert parity.audio_difference <= 1e-4
    assert parity.frames > 150


@pytest.mark.parametrize("level", [1.0, 1e-2, 1e-4, 1e-6, 0.0])
def test_the_state_equals_torch_at_every_level(tiny_model, tiny_codec, speech, level):
    piece = level * speech[..., : 480 * 60]
    step = export.EncoderStep(tiny_model)
    codes, state = step(piece, step.init_state(1))
    found, found_state = tiny_codec.encode_step(piece.numpy(), tiny_codec.encoder_state())
    assert (found == codes.numpy()).mean() >= 0.999
    for name, tensor in state.items():
        np.testing.assert_allclose(found_state[name], tensor.numpy(), atol=1e-4)


def test_books_not_heard_equal_torch(tiny_model, tiny_codec):
    codes = torch.randint(0, 16, (3, 4, 9), generator=torch.Generator().manual_seed(0))
    codes[1, 2:] = -1
    codes[2, 1:, 4:] = -1
    codes[2, :, 6] = -1
    audio, _ = tiny_model.decode(codes, tiny_model.decoder.init_state(3))
    heard, _ = tiny_codec.decode_step(codes.numpy(), tiny_codec.decoder_state(3))
    np.testing.assert_allclose(heard, audio.numpy(), atol=1e-4)


def test_graphs_that_differ_from_torch_are_refused(tiny_model, bundle, speech):
    change_weight(bundle / "decoder.onnx", "head.bias.half", lambda bias: bias + 0.1)
    with pytest.raises(BundleError, match=r"differ from torch: 100\.0000% of codes equal"):
        check_parity(tiny_model, bundle, speech[..., :4800])
    with pytest.raises(BundleError, match="2 frames"):
        check_parity(tiny_model, bundle, speech[..., :959])


def test_another_encoder_is_refused_and_another_decoder_is_a_drop_in(tiny_codec, bundle, speech):
    change_weight(bundle / "decoder.onnx", "head.bias.half", lambda bias: bias + 0.1)
    other = Codec(bundle)
    audio = speech.numpy()
    codes = other.encode(audio)
    assert other.info == tiny_codec.info
    assert np.array_equal(codes, tiny_codec.encode(audio))
    assert not np.array_equal(other.decode(codes), tiny_codec.decode(codes))
    graph = onnx.load(bundle / "encoder.onnx")
    helper.set_model_props(graph, {"identity": "0" * 64})
    onnx.save(graph, bundle / "encoder.onnx")
    with pytest.raises(BundleError, match=r"encoder\.onnx' is of model 0000"):
        Codec(bundle)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_wide_convolution_of_one_frame_rounds_as_that_of_many(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = CausalDepthwiseConv(256, 7).requires_grad_(False).eval()
        x = torch.randn(1, 30, 256)
    frames = torch.export.Dim("frames", min=1, max=1000)
    torch.onnx.export(
        conv,
        (x,),
        tmp_path / "conv.onnx",
        kwargs={"state": conv.init_state(1)},
        dynamo=True,
        dynamic_shapes={"x": {1: frames}, "state": {"left": {}}},
        optimize=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "conv.onnx")
    signal, state = (given.name for given in session.get_inputs())
    left, found = conv.init_state(1)["left"].numpy(), []
    whole, _ = session.run(None, {signal: x.numpy(), state: left})
    for piece in np.split(x.numpy(), 30, axis=1):
        y, left = session.run(None, {signal: piece, state: left})
        found.append(y)
    assert np.array_equal(np.concatenate(found, axis=1), whole)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx"])
def test_the_metadata_tell_sizes_and_identity(tiny_codec, tiny_bundle, name):
    graph = onnx.load(tiny_bundle / name)
    found = {entry.key: entry.value for entry in graph.metadata_props}
    assert found == {key: str(value) for key, value in asdict(tiny_codec.info).items()}


@pytest.mark.parametrize(
    ("name", "signal", "result"),
    [("encoder.onnx", "audio", "codes"), ("decoder.onnx", "codes", "audio")],
)
def test_inputs_and_outputs_are_named_and_batch_first(tiny_bundle, name, signal, result):
    session = onnxruntime.InferenceSession(tiny_bundle / name)
    first, *states = session.get_inputs()
    last, *new_states = session.get_outputs()
    assert (first.name, last.name) == (signal, result)
    assert [s.name for s in new_states] == [f"new_{s.name}" for s in states]
    assert states
    assert all(isinstance(s.shape[0], str) for s in (first, *states))
    assert all(isinstance(size, int) for s in states for size in s.shape[1:])


def test_the_configuration_rebuilds_the_model(tiny_model, tiny_codec, tiny_bundle):
    stored = json.loads((tiny_bundle / "config.json").read_text())
    assert build(CodecConfig, stored["model"]) == tiny_model.config
    assert describe(tiny_model) == tiny_codec.info
    assert (tiny_bundle / "MODEL_CARD.md").read_text() == "# tiny\n"


def test_an_existing_card_is_kept_unless_another_is_given(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_write", lambda *_: None)
    monkeypatch.setattr(export, "check_parity", lambda *_: None)
    for card, expected in (("first", "first"), ("", "first"), ("second", "second")):
        export.export_bundle(tiny_model, tmp_path, speech=torch.zeros(1, 1, 960), card=card)
        assert (tmp_path / "MODEL_CARD.md").read_text() == expected


def test_large_weights_are_stored_as_float16_and_computed_tables_exactly(tiny_bundle):
    for name in ("encoder.onnx", "decoder.onnx"):
        tensors = onnx.load(tiny_bundle / name).graph.initializer
        kept = [
            t.name for t in tensors if t.data_type == TensorProto.FLOAT and np.prod(t.dims) > 255
        ]
        assert kept
        assert all(".dft." in name or name.endswith(".window") for name in kept)


def changed(model, change):
    twin = copy.deepcopy(model)
    change(twin)
    return identity(twin)


@pytest.mark.parametrize("part", ["encoder.project_out.bias", "quantizer.books.3.entries"])
def test_the_identity_changes_with_encoder_and_codebooks(tiny_model, part):
    def change(model):
        model.state_dict()[part].view(-1)[0] += 0.5

    assert changed(tiny_model, change) != identity(tiny_model)


@pytest.mark.parametrize(
    "part",
    [
        "decoder.head.bias",
        "quantizer.books.0.usage",
        "quantizer.books.0.sums",
        "quantizer.books.0.recent",
    ],
)
def test_the_identity_does_not_change_with_the_decoder_or_statistics(tiny_model, part):
    def change(model):
        model.state_dict()[part].view(-1)[0] += 0.5

    assert changed(tiny_model, change) == identity(tiny_model)


@pytest.mark.parametrize("field", ["name", "version"])
def test_the_identity_changes_with_name_and_version(tiny_model, field):
    def change(model):
        object.__setattr__(model.config, field, "other")

    assert changed(tiny_model, change) != identity(tiny_model)


def test_rounding_to_float16_keeps_the_identity_and_happens_once(make_model):
    model = make_model(seed=3)
    before = identity(model)
    round_to_half(model)
    weights = copy.deepcopy(model.state_dict())
    round_to_half(model)
    assert identity(model) == before
    assert all(torch.equal(tensor, weights[n]) for n, tensor in model.state_dict().items())
    assert all(torch.equal(t, t.half().float()) for t in weights.values())


def test_a_weight_that_float16_cannot_hold_is_refused():
    weight = numpy_helper.from_array(np.full((20, 20), 0.1, np.float32), "weight")
    graph = helper.make_graph([], "g", [], [], [weight])
    with pytest.raises(ValueError, match="weight 'weight' is not rounded to float16"):
        compact(helper.make_model(graph), nn.Identity())
