"""Joins two encoders that differ in their search into one graph, which chooses at run time."""

import copy
from collections.abc import Iterable, Sequence

import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper

from .session import BEAM

Key = tuple[object, ...]


def join_searches(greedy: onnx.ModelProto, beam: onnx.ModelProto) -> onnx.ModelProto:
    """One graph that computes what both have in common, then one of two searches.

    Values are the same in both if the same operator makes them of the same values, whatever the
    exporter called them; all that only one of the graphs has is a branch of an ``If``.

    Args:
        greedy: Graph whose first output is codes.
        beam: The same encoder with another search; it may have inputs of its own.

    Returns:
        The inputs of `beam`, and a bool without axes that says whether to use it; the outputs of both.

    Raises:
        ValueError: Outputs besides the codes are not the same.
    """
    greedy = copy.deepcopy(greedy)
    _merge_equal(greedy.graph)
    shared = _match(greedy.graph, beam.graph)
    common = set(shared.values())
    for one, other in zip(greedy.graph.output[1:], beam.graph.output[1:], strict=True):
        if shared.get(other.name) != one.name:
            raise ValueError(f"'{one.name}' is not the same in both graphs")
    codes = greedy.graph.output[0]
    joined = copy.deepcopy(beam)
    graph = joined.graph
    del graph.node[:], graph.initializer[:]
    graph.input.append(helper.make_tensor_value_info(BEAM, TensorProto.BOOL, []))
    graph.node.extend(node for node in greedy.graph.node if node.output[0] in common)
    graph.initializer.extend(greedy.graph.initializer)
    own = {name: name for name in common} | {t.name: t.name for t in greedy.graph.initializer}
    graph.node.append(
        helper.make_node(
            "If",
            [BEAM],
            [codes.name],
            name=BEAM,
            then_branch=_branch(beam.graph, shared, "searched", graph),
            else_branch=_branch(greedy.graph, own, "greedy", graph),
        )
    )
    return joined


def _merge_equal(graph: GraphProto) -> None:
    """Have every value computed once, in place; outputs of the graph keep their nodes."""
    outputs = {output.name for output in graph.output}
    first: dict[str, str] = {}
    known: dict[Key, NodeProto] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [first.get(i, i) for i in node.input]
        found = known.setdefault(_key(node, node.input), node)
        if found is node or not outputs.isdisjoint(node.output):
            kept.append(node)
        else:
            first |= zip(node.output, found.output, strict=True)
    del graph.node[:]
    graph.node.extend(kept)


def _match(greedy: GraphProto, beam: GraphProto) -> dict[str, str]:
    """Names in `beam` of the values that `greedy` has too, and their names there."""
    tensors = {tensor.name: tensor for tensor in greedy.initializer}
    same = {"": ""}  # an input that is left out
    same |= {given.name: given.name for given in beam.input}
    same |= {t.name: t.name for t in beam.initializer if tensors.get(t.name) == t}
    known = {_key(node, node.input): node for node in greedy.node}
    for node in beam.node:
        inputs = [same[i] for i in node.input if i in same]
        match = known.get(_key(node, inputs)) if len(inputs) == len(node.input) else None
        if match is not None:
            same |= zip(node.output, match.output, strict=True)
    return same


def _key(node: NodeProto, inputs: Sequence[str]) -> Key:
    """Equal for nodes that do the same to the same values."""
    attributes = sorted(attribute.SerializeToString() for attribute in node.attribute)
    return node.op_type, node.domain, tuple(inputs), tuple(attributes), len(node.output)


def _branch(graph: GraphProto, outside: dict[str, str], name: str, to: GraphProto) -> GraphProto:
    """What `graph` has besides the values that are `outside`, by their names there.

    Its initializers go to the graph `to`, unless they are there.
    """

    def renamed(values: Iterable[str]) -> list[str]:
        return [outside.get(value, f"{name}.{value}") for value in values]

    nodes = []
    for node in graph.node:
        if node.output[0] not in outside:
            moved = copy.deepcopy(node)
            moved.name = f"{name}.{node.name}"
            moved.input[:], moved.output[:] = renamed(node.input), renamed(node.output)
            nodes.append(moved)
    there = {tensor.name for tensor in to.initializer}
    for tensor in graph.initializer:
        (placed,) = renamed([tensor.name])
        if placed not in there:
            to.initializer.append(copy.deepcopy(tensor))
            to.initializer[-1].name = placed
    codes = copy.deepcopy(graph.output[0])
    (codes.name,) = renamed([codes.name])
    return helper.make_graph(nodes, name, [], [codes])
