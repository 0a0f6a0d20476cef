"""Filters joined into a few nodes: the same bits in every shape; other sums are left alone."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from sotto.codec.layers import CausalDepthwiseConv
from sotto.export.sums import join_sums
from sotto.export.windows import join_taps

DIM, TAPS = 5, 4


class Step(nn.Module):
    """A filter as a step of a graph."""

    def __init__(self):
        super().__init__()
        self.conv = CausalDepthwiseConv(DIM, TAPS)

    def forward(self, x, left):
        y, state = self.conv(x, {"left": left})
        return y, state["left"]


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("filter") / "filter.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the exporter says of itself
        write(path)
    return onnx.load(path)


def write(path):
    batch, frames = torch.export.Dim("batch", min=1), torch.export.Dim("frames", min=1)
    torch.onnx.export(
        Step().eval(),
        (torch.zeros(2, 3, DIM), torch.zeros(2, TAPS - 1, DIM)),
        path,
        dynamo=True,
        input_names=["x", "left"],
        output_names=["y", "new_left"],
        dynamic_shapes={"x": {0: batch, 1: frames}, "left": {0: batch}},
        optimize=False,
        external_data=False,
        verbose=False,
    )


def run(model, batch, frames):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    random = np.random.default_rng(0)
    shapes = {"x": (batch, frames, DIM), "left": (batch, TAPS - 1, DIM)}
    return session.run(
        None, {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    )


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 1), (1, 9), (4, 5)])
def test_a_filter_becomes_a_few_nodes_with_the_same_bits(graph, batch, frames):
    joined = onnx.ModelProto()
    joined.CopyFrom(graph)
    join_sums(joined)
    assert join_taps(joined) == 1
    onnx.checker.check_model(joined)
    assert sum(node.op_type in ("Mul", "Add", "Sum") for node in joined.graph.node) < TAPS
    assert len(joined.graph.node) < len(graph.graph.node) / 2
    for one, other in zip(run(graph, batch, frames), run(joined, batch, frames), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_sums_there_is_nothing_to_join(graph):
    untouched = onnx.ModelProto()
    untouched.CopyFrom(graph)
    assert join_taps(untouched) == 0
    np.testing.assert_array_equal(run(graph, 2, 3)[0], run(untouched, 2, 3)[0])
