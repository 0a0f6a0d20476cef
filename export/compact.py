"""Makes an ONNX file small: weights as float16, DFT matrices computed when the graph is loaded.

onnxruntime folds the added nodes into constants once, at load; what runs is float32 as before.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from sotto.codec.spectral import CausalSTFT, OverlapAddISTFT

Array = npt.NDArray[np.float32]
Recipe = tuple[Array, list[NodeProto]]
SMALL = 256  # initializers with fewer elements stay as they are


def compact(model: onnx.ModelProto, step: nn.Module) -> None:
    """Shrink `model` in place.

    Args:
        model: Float32 graph whose weights are already rounded to float16.
        step: The module it was exported from; its DFT matrices are recognised.

    Raises:
        ValueError: A large weight is not representable in float16.
    """
    graph = model.graph
    computed = _dft_recipes(step)
    kept, nodes = [], []
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < SMALL:
            kept.append(tensor)
            continue
        recipe = _find(value, computed)
        if recipe is not None:
            nodes += _rename_output(recipe, tensor.name)
            continue
        half = value.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), value):
            raise ValueError(f"weight '{tensor.name}' is not rounded to float16")
        kept.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
        nodes.append(
            helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT)
        )
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # shapes of intermediate values: large, and inferred again at load


def _dft_recipes(step: nn.Module) -> list[Recipe]:
    """The DFT matrices of a module, each with the nodes whose last output is that matrix."""
    recipes = []
    for module in step.modules():
        if isinstance(module, CausalSTFT | OverlapAddISTFT):
            matrix = module.basis.numpy()
            inverse = isinstance(module, OverlapAddISTFT)
            nodes = dft_nodes(2 * module.hop, module.num_features // 2, inverse=inverse)
            recipes.append((matrix, nodes))
    return recipes


def _find(value: Array, computed: list[Recipe]) -> list[NodeProto] | None:
    for matrix, nodes in computed:
        if value.shape == matrix.shape and np.array_equal(value, matrix):
            return nodes
    return None


def _rename_output(nodes: list[NodeProto], name: str) -> list[NodeProto]:
    last = NodeProto()
    last.CopyFrom(nodes[-1])
    last.output[0] = name
    return [*nodes[:-1], last]


def dft_nodes(n_fft: int, bins: int, *, inverse: bool) -> list[NodeProto]:
    """Nodes that compute `sotto.codec.spectral.windowed_dft` or its inverse from two short tables.

    ``basis[n, k] = window[n] * cos(2 pi n k / n_fft)``: the cosine is gathered from a table of one
    period at ``n k mod n_fft``, so that every entry is exact.
    """
    n = np.arange(n_fft)
    window = np.sin(np.pi * (n + 0.5) / n_fft) * n_fft**-0.5
    prefix = f"{'inverse_' if inverse else ''}dft"
    tables = {
        "cos": np.cos(2 * np.pi * n / n_fft),
        "sin": -np.sin(2 * np.pi * n / n_fft),
        "window": window[:, None],
    }
    if inverse:
        weight = np.full(bins, 2.0)
        weight[[0, -1]] = 1.0
        tables["weight"] = np.tile(weight, 2)
    nodes = [_constant(f"{prefix}.{name}", value) for name, value in tables.items()]
    nodes += [
        _constant(f"{prefix}.n", n[:, None]),
        _constant(f"{prefix}.k", np.arange(bins)[None]),
        _constant(f"{prefix}.period", np.array(n_fft)),
    ]

    def op(kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        names = [f"{prefix}.{name}" for name in inputs]
        nodes.append(helper.make_node(kind, names, [f"{prefix}.{output}"], **attributes))

    op("Mul", ["n", "k"], "product")
    op("Mod", ["product", "period"], "phase")
    op("Gather", ["cos", "phase"], "real")
    op("Gather", ["sin", "phase"], "imaginary")
    op("Concat", ["real", "imaginary"], "rows", axis=1)
    op("Mul", ["rows", "window"], "analysis")
    if inverse:
        op("Mul", ["analysis", "weight"], "weighted")
        nodes.append(
            helper.make_node(
                "Transpose", [f"{prefix}.weighted"], [f"{prefix}.synthesis"], perm=[1, 0]
            )
        )
    return nodes


def _constant(name: str, value: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> NodeProto:
    stored = value.astype(np.float32) if value.dtype == np.float64 else value
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(stored))
