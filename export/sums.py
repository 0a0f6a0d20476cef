"""Makes long sums in an ONNX graph one node each: in short steps, nodes cost more than numbers."""

import onnx
from onnx import NodeProto, helper

SHORTEST = 4  # terms; shorter sums may be half of something that onnxruntime fuses better


def join_sums(model: onnx.ModelProto) -> int:
    """Replace chains ``((a + b) + c) + …`` by one Sum in the same order, in place.

    onnxruntime adds the terms of a Sum one after the other, element by element, so not a bit
    changes.

    Returns:
        How many nodes there are fewer.
    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    uses: dict[str, int] = {}
    for name in [i for node in graph.node for i in node.input] + [o.name for o in graph.output]:
        uses[name] = uses.get(name, 0) + 1
    inside = {
        node.input[0]
        for node in graph.node
        if node.op_type == "Add" and _is_link(node.input[0], made_by, uses)
    }
    dropped: set[str] = set()
    replaced: dict[str, NodeProto] = {}
    for node in graph.node:
        if node.op_type != "Add" or node.output[0] in inside:
            continue
        terms, links = [node.input[1]], []
        left = node.input[0]
        while _is_link(left, made_by, uses):
            links.append(left)
            terms.append(made_by[left].input[1])
            left = made_by[left].input[0]
        terms.append(left)
        if len(terms) >= SHORTEST:
            dropped.update(links)
            replaced[node.output[0]] = helper.make_node(
                "Sum", terms[::-1], list(node.output), name=f"{node.name}.sum"
            )
    before = len(graph.node)
    kept = [
        replaced.get(node.output[0], node) for node in graph.node if node.output[0] not in dropped
    ]
    del graph.node[:]
    graph.node.extend(kept)
    return before - len(kept)


def _is_link(name: str, made_by: dict[str, NodeProto], uses: dict[str, int]) -> bool:
    """Whether a value is a sum that only one node needs."""
    return name in made_by and made_by[name].op_type == "Add" and uses[name] == 1
