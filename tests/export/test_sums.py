"""Sums joined into one node: the same bits, and only where nothing else needs a part."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from sotto.export.sums import join_sums

NAMES = ["a", "b", "c", "d", "e"]


def graph(nodes, outputs):
    shapes = {name: ["B", 3] for name in NAMES} | {"b": [3]}
    return helper.make_model(
        helper.make_graph(
            nodes,
            "sums",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in NAMES],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", 3]) for n in outputs],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def chain():
    lefts, rights = ["b", "ab", "abc", "abcd"], ["a", "c", "d", "e"]
    outputs = ["ab", "abc", "abcd", "out"]
    return [
        helper.make_node("Add", [left, right], [out], name=out)
        for left, right, out in zip(lefts, rights, outputs, strict=True)
    ]


def run(model, batch):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    random = np.random.default_rng(0)
    feeds = {n: random.standard_normal((batch, 3)).astype(np.float32) for n in NAMES}
    feeds["b"] = feeds["b"][0]
    return session.run(None, feeds)


def test_a_chain_becomes_one_node_with_the_same_bits():
    plain, joined = graph(chain(), ["out"]), graph(chain(), ["out"])
    assert join_sums(joined) == 3
    onnx.checker.check_model(joined)
    (node,) = joined.graph.node
    assert list(node.input) == ["b", "a", "c", "d", "e"]
    for batch in (1, 5):
        np.testing.assert_array_equal(run(plain, batch)[0], run(joined, batch)[0])


def test_a_part_that_others_need_stays():
    nodes = [*chain(), helper.make_node("Neg", ["abc"], ["also"])]
    joined = graph(nodes, ["out", "also"])
    assert join_sums(joined) == 0
    assert [node.op_type for node in joined.graph.node] == ["Add"] * 4 + ["Neg"]


def test_a_part_that_is_an_output_stays():
    plain, joined = graph(chain(), ["out", "abc"]), graph(chain(), ["out", "abc"])
    join_sums(joined)
    for one, other in zip(run(plain, 2), run(joined, 2), strict=True):
        np.testing.assert_array_equal(one, other)
