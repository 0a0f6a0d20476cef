"""Splits joined into one node: the same parts, and only where all of them are known."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sotto.export.splits import join_splits


def graph(order, sizes=(2, 1, 3)):
    values = {"sizes": np.array(sizes), **{f"i{i}": np.array(i) for i in range(3)}}
    tensors = [numpy_helper.from_array(v.astype(np.int64), n) for n, v in values.items()]
    nodes = [helper.make_node("SplitToSequence", ["x", "sizes"], ["parts"], axis=1)]
    nodes += [helper.make_node("SequenceAt", ["parts", f"i{i}"], [f"y{i}"]) for i in order]
    outputs = [
        helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["B", sizes[i]]) for i in order
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 6])
    return helper.make_model(
        helper.make_graph(nodes, "splits", [x], outputs, tensors),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def run(model):
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_split_becomes_one_node_with_the_same_parts(order):
    plain, joined = graph(order), graph(order)
    assert join_splits(joined) == 1
    onnx.checker.check_model(joined)
    assert [node.op_type for node in joined.graph.node] == ["Split"]
    for a, b in zip(run(plain), run(joined), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sequence_of_which_a_part_is_left_stays():
    model = graph((0, 2))
    assert join_splits(model) == 0
    assert len(model.graph.node) == 3
