"""Makes an ONNX file small: weights as float16.

onnxruntime folds the added casts into constants once, at load; what runs is float32 as before.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

SMALL = 256  # initializers with fewer elements stay as they are


def compact(model: onnx.ModelProto, step: nn.Module) -> None:
    """Shrink `model` in place.

    Args:
        model: Float32 graph whose weights are already rounded to float16.
        step: The module it was exported from; its buffers that are computed, such as DFT tables,
            stay float32 where float16 would change them.

    Raises:
        ValueError: A large weight is not representable in float16.
    """
    graph = model.graph
    computed = {name for name, _ in step.named_buffers()} - step.state_dict().keys()
    kept, casts = [], []
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < SMALL:
            kept.append(tensor)
            continue
        half = value.astype(np.float16)
        if np.array_equal(half.astype(np.float32), value):
            kept.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
            casts.append(
                helper.make_node(
                    "Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT
                )
            )
        elif tensor.name in computed:
            kept.append(tensor)
        else:
            raise ValueError(f"weight '{tensor.name}' is not rounded to float16")
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # shapes of intermediate values: large, and inferred again at load
