"""What an ONNX graph holds as numbers."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper


def constants_of(graph: onnx.GraphProto) -> dict[str, npt.NDArray[Any]]:
    """Initializers and Constant nodes by name."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = node.attribute[0]
            constants[node.output[0]] = (
                numpy_helper.to_array(value.t) if value.HasField("t") else np.array(value.ints)
            )
    return constants
