"""Makes a filter over time in an ONNX graph five nodes instead of two for each of its taps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .constants import constants_of

Constants = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Tap:
    """One term of a filter: ``signal[:, k : k + frames] * weight[:, 0, k]``."""

    signal: str
    weight: str
    k: int
    end: str  # 1-D: where the slice ends; for the first tap, how many frames there are


def join_taps(model: onnx.ModelProto) -> int:
    """Let each depthwise filter gather all its windows at once, in place.

    Looks for sums of products as `join_sums` leaves them for `CausalDepthwiseConv`. The products
    and the order in which they are added stay what they are, so not a bit changes; in steps of one
    frame a graph with fewer nodes takes less time.

    Returns:
        How many filters were found.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    constants = constants_of(graph)
    indices: dict[tuple[str, int], str] = {}
    nodes: list[NodeProto] = []
    found = 0
    for node in graph.node:
        taps = _taps(node, made_by, constants)
        if taps is None:
            nodes.append(node)
            continue
        found += 1
        key = (taps[0].end, len(taps))
        if key not in indices:
            indices[key] = f"windows.{len(indices)}"
            nodes += _window_indices(*key, indices[key])
        weight = constants[taps[0].weight]  # [D, 1, K]
        rows = np.ascontiguousarray(weight.transpose(1, 2, 0)[:, :, None])  # [1, K, 1, D]
        name = f"{taps[0].weight}.taps"
        graph.initializer.append(numpy_helper.from_array(rows, name))
        nodes += _filter(node, taps[0].signal, indices[key], name, len(taps))
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    return found


def _window_indices(end: str, taps: int, name: str) -> list[NodeProto]:
    """Nodes that make `name` [taps, frames]: which frames each tap sees."""
    offsets = np.arange(taps, dtype=np.int64)[:, None]
    values = {"zero": np.array(0), "one": np.array(1), "axis": np.array([0]), "offsets": offsets}
    constants = [
        helper.make_node(
            "Constant", [], [f"{name}.{key}"], value=numpy_helper.from_array(value.astype(np.int64))
        )
        for key, value in values.items()
    ]
    return [
        *constants,
        helper.make_node("Squeeze", [end, f"{name}.axis"], [f"{name}.frames"]),
        helper.make_node(
            "Range", [f"{name}.zero", f"{name}.frames", f"{name}.one"], [f"{name}.range"]
        ),
        helper.make_node("Add", [f"{name}.range", f"{name}.offsets"], [name]),
    ]


def _filter(total: NodeProto, signal: str, indices: str, rows: str, taps: int) -> list[NodeProto]:
    """Nodes in place of the sum `total`."""
    out = total.output[0]
    parts = [f"{out}.{k}" for k in range(taps)]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    return [
        helper.make_node("Gather", [signal, indices], [f"{out}.seen"], axis=1),
        helper.make_node("Mul", [f"{out}.seen", rows], [f"{out}.products"]),
        helper.make_node("Split", [f"{out}.products"], parts, axis=1, num_outputs=taps),
        helper.make_node("Sum", [total.input[0], *parts], [f"{out}.sum"]),
        helper.make_node("Constant", [], [f"{out}.axis"], value=axis),
        helper.make_node("Squeeze", [f"{out}.sum", f"{out}.axis"], [out]),
    ]


def _taps(
    node: NodeProto, made_by: dict[str, NodeProto], constants: Constants
) -> list[_Tap] | None:
    """The taps of a filter whose sum is `node`, or None if it is no filter."""
    if node.op_type != "Sum":
        return None
    taps = [_tap(name, made_by, constants) for name in node.input[1:]]
    known = [tap for tap in taps if tap is not None]
    if len(known) != len(taps) or [tap.k for tap in known] != list(range(len(known))):
        return None
    if len({(tap.signal, tap.weight) for tap in known}) != 1:
        return None
    shape = constants[known[0].weight].shape
    return known if len(shape) == 3 and shape[1:] == (1, len(known)) else None


def _tap(name: str, made_by: dict[str, NodeProto], constants: Constants) -> _Tap | None:
    product = made_by.get(name)
    if product is None or product.op_type != "Mul":
        return None
    window, outer = (made_by.get(i) for i in product.input)
    if window is None or window.op_type != "Slice" or outer is None or outer.op_type != "Gather":
        return None
    inner = made_by.get(outer.input[0])
    if inner is None or inner.op_type != "Gather" or inner.input[0] not in constants:
        return None
    axis, middle, k = (
        _integer(value, made_by, constants)
        for value in (window.input[3], inner.input[1], outer.input[1])
    )
    if axis != 1 or middle != 0 or k is None:
        return None
    return _Tap(window.input[0], inner.input[0], k, window.input[2])


def _integer(name: str, made_by: dict[str, NodeProto], constants: Constants) -> int | None:
    """The one integer that a value holds whatever the input, or None."""
    while (
        name not in constants and name in made_by and made_by[name].op_type in ("Cast", "Reshape")
    ):
        name = made_by[name].input[0]
    value = constants.get(name)
    return int(value.ravel()[0]) if value is not None and value.size == 1 else None


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initializers that nothing needs."""
    needed = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if any(output in needed for output in node.output):
            kept.append(node)
            needed.update(node.input)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:]
    graph.node.extend(reversed(kept))
    del graph.initializer[:]
    graph.initializer.extend(tensors)
