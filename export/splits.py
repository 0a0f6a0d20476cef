"""Makes a split in an ONNX graph one node: the exporter writes a sequence, and a node per part."""

from typing import Any

import numpy.typing as npt
import onnx
from onnx import NodeProto, helper

from .constants import constants_of


def join_splits(model: onnx.ModelProto) -> int:
    """Replace each SplitToSequence of given sizes by a Split, in place.

    Only where every part is taken by an index that the graph knows.

    Returns:
        How many were replaced.
    """
    graph = model.graph
    constants = constants_of(graph)
    takers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    splits: dict[str, NodeProto] = {}  # by the name of the sequence
    for node in graph.node:
        if node.op_type == "SplitToSequence" and len(node.input) == 2:
            sizes = constants.get(node.input[1])
            parts = _parts(takers.get(node.output[0], []), constants)
            if sizes is not None and sizes.ndim == 1 and parts.keys() == set(range(len(sizes))):
                names = [parts[i] for i in range(len(sizes))]
                axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
                splits[node.output[0]] = helper.make_node("Split", node.input, names, axis=axis)
    kept = [
        splits.get(node.output[0], node)
        for node in graph.node
        if not (node.op_type == "SequenceAt" and node.input[0] in splits)
    ]
    del graph.node[:]
    graph.node.extend(kept)
    return len(splits)


def _parts(takers: list[NodeProto], constants: dict[str, npt.NDArray[Any]]) -> dict[int, str]:
    """Names of the parts by their index; none if one is taken in another way, or twice."""
    parts: dict[int, str] = {}
    for taker in takers:
        index = constants.get(taker.input[1]) if taker.op_type == "SequenceAt" else None
        if index is None or index.size != 1 or int(index.item()) in parts:
            return {}
        parts[int(index.item())] = taker.output[0]
    return parts
