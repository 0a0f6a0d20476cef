"""A bundle whose decoder multiplies 8-bit integers: the same tokens, less time and memory."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from sotto.codec.errors import BundleError, ShapeError

from .arrays import Audio
from .constants import constants_of
from .runtime import Codec

BLOCK = 25  # frames that a step of the calibration takes
BOUNDED = {"LayerNormalization", "Gelu"}  # give activations of a range that speech hardly moves
Feeds = Mapping[str, npt.NDArray[Any]]


def quantize_bundle(source: Path, folder: Path, speech: Audio) -> None:
    """Write a bundle with the encoder of `source` and its decoder's blocks in int8.

    Weights of the blocks' perceptrons get a scale per column; the scale of their inputs is fixed
    by what `speech` makes of them, so that a stream still does not depend on how it is cut. All
    else stays float32: projections, the head, the noise and the Fourier transform. Codes and
    identity are those of `source`, so the new decoder is a drop-in.

    Args:
        source: Folder of a bundle.
        folder: Where to; made if needed, files are overwritten.
        speech: float32 [1, 1, S] at the model's rate, a few seconds or more.

    Raises:
        BundleError: `source` is no complete bundle, `folder` is the same one, or the decoder has
            no perceptrons that could be quantized.
        ShapeError: No frame of speech.
    """
    codec = Codec(source)
    if folder.resolve() == source.resolve():
        raise BundleError(f"'{folder}' is the bundle to be quantized; name another folder")
    if speech.shape[-1] < codec.info.frame_size:
        raise ShapeError(f"speech of {speech.shape[-1]} samples; expected at least one frame")
    with tempfile.TemporaryDirectory() as temporary:
        plain, small = Path(temporary) / "plain.onnx", Path(temporary) / "small.onnx"
        _fold_constants(source / "decoder.onnx", plain)
        nodes = _perceptrons(onnx.load(plain).graph)
        if not nodes:
            raise BundleError(f"the decoder of '{source}' has no perceptrons to quantize")
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it advises preparations that are done already
        try:
            quantize_static(
                plain,
                small,
                _Speech(codec, speech),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=nodes,
                per_channel=True,
                reduce_range=True,  # 7 bits: without VNNI, sums of two products must fit 16 bits
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
            )
        finally:
            root.setLevel(level)
        folder.mkdir(parents=True, exist_ok=True)
        model = onnx.load(small)
        stored = onnx.load(source / "decoder.onnx", load_external_data=False).metadata_props
        onnx.helper.set_model_props(model, {entry.key: entry.value for entry in stored})
        onnx.checker.check_model(model)
        onnx.save(model, folder / "decoder.onnx")
    for name in ("encoder.onnx", "config.json", "MODEL_CARD.md"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _fold_constants(source: Path, target: Path) -> None:
    """Let onnxruntime compute what does not depend on the inputs, in standard operators only."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _perceptrons(graph: onnx.GraphProto) -> list[str]:
    """Names of the products of a weight matrix with something bounded."""
    constants = constants_of(graph)
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul"
        and made_by.get(node.input[0]) in BOUNDED
        and node.input[1] in constants
        and constants[node.input[1]].ndim == 2
    ]


class _Speech(CalibrationDataReader):  # type: ignore[misc]
    """Inputs of the decoder while it decodes speech at every depth that halving gives."""

    def __init__(self, codec: Codec, speech: Audio) -> None:
        self._feeds = self._steps(codec, codec.encode(speech))

    def get_next(self) -> Feeds | None:
        """Inputs of the next step, or None after the last."""
        return next(self._feeds, None)

    @staticmethod
    def _steps(codec: Codec, codes: npt.NDArray[np.int64]) -> Iterator[Feeds]:
        depth = codec.info.num_codebooks
        while depth:
            heard = np.where(np.arange(codes.shape[1])[:, None] < depth, codes, -1)
            state = codec.decoder_state()
            for start in range(0, codes.shape[2], BLOCK):
                block = heard[:, :, start : start + BLOCK]
                yield {"codes": block, **{f"state.{name}": v for name, v in state.items()}}
                _, state = codec.decode_step(block, state)
            depth //= 2
