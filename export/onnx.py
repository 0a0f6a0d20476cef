"""Exports a trained codec to a bundle: encoder.onnx, decoder.onnx, config.json."""

import hashlib
import json
import logging
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import torch
from pydantic import TypeAdapter
from torch import Tensor

from sotto.codec.config import CodecConfig
from sotto.codec.info import BUNDLE_FORMAT, ModelInfo
from sotto.codec.model import CodecModel
from sotto.codec.quantizers.codebook import STATISTICS

from .choice import join_searches
from .compact import compact
from .graphs import DecoderStep, EncoderStep, round_to_half
from .parity import Parity, check_parity
from .splits import join_splits
from .sums import join_sums
from .windows import join_taps

log = logging.getLogger(__name__)
OPSET = 20


def export_bundle(
    model: CodecModel, folder: Path, *, speech: Tensor, card: str = "", beam_size: int = 1
) -> Parity:
    """Write a serving bundle and check it against torch.

    The model's weights are rounded to float16 in place, so that both sides hold the same numbers.

    Args:
        model: A trained codec.
        folder: Where to; made if needed, files are overwritten.
        speech: Audio float32 [1, 1, S] for the check.
        card: Text of MODEL_CARD.md; an existing card is kept if empty.
        beam_size: Code paths that the encoder keeps when it is asked for a beam search; with 1 it
            can only be asked for a greedy one. The codes mean the same, and so does the identity.

    Returns:
        How far onnxruntime was from torch.

    Raises:
        ConfigError: The quantizer has nothing that a beam could search, or too few entries.
        BundleError: The graphs disagree with torch by more than the promise.
    """
    model = model.cpu().eval().requires_grad_(False)
    round_to_half(model)
    folder.mkdir(parents=True, exist_ok=True)
    info = describe(model)
    searched = EncoderStep(model, beam_size).eval()
    _check_beam(searched)
    audio = torch.zeros(2, 1, 3 * model.config.frame_size)
    codes = torch.zeros(2, model.config.num_codebooks, 3, dtype=torch.int64)
    encoder = _graph(EncoderStep(model).eval(), audio, info)
    properties = {name: str(value) for name, value in asdict(info).items()}
    if beam_size == 1:
        _write(encoder, folder / "encoder.onnx", properties)
    else:
        both = join_searches(encoder, _graph(searched, audio, info))
        _write(both, folder / "encoder.onnx", properties | {"beam_size": str(beam_size)})
    _write(_graph(DecoderStep(model).eval(), codes, info), folder / "decoder.onnx", properties)
    config = {
        "format": BUNDLE_FORMAT,
        "info": asdict(info),
        "model": TypeAdapter(CodecConfig).dump_python(model.config, mode="json"),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if card:
        (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return check_parity(model, folder, speech)


def describe(model: CodecModel) -> ModelInfo:
    """The info of a model, with the identity of its encoder and codebooks as they are now."""
    c = model.config
    return ModelInfo(
        name=c.name,
        version=c.version,
        identity=identity(model),
        sample_rate=c.sample_rate,
        frame_size=c.frame_size,
        num_codebooks=c.num_codebooks,
        codebook_size=c.codebook_size,
        delay_samples=model.delay_samples,
    )


def identity(model: CodecModel) -> str:
    """sha256 over name, version, options and weights of all that decides codes and their meaning."""
    config = asdict(model.config)
    del config["decoder"]  # a better decoder for the same codes is a drop-in
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    parts = {"encoder": model.encoder, "quantizer": model.quantizer}
    for part, module in parts.items():
        for name, tensor in sorted(module.state_dict().items()):
            if name.rpartition(".")[2] not in STATISTICS:
                digest.update(f"{part}.{name}\0{tuple(tensor.shape)}\0".encode())
                digest.update(tensor.detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()


def _check_beam(encoder: EncoderStep) -> None:
    """Raise what a beam search would raise, before the exporter wraps it."""
    c = encoder.model.config
    depth = torch.full((1,), c.num_codebooks)
    encoder.model.quantizer.search(torch.zeros(1, 1, c.latent_dim), depth, encoder.beam_size)


def _graph(step: EncoderStep | DecoderStep, example: Tensor, info: ModelInfo) -> onnx.ModelProto:
    """One step with dynamic batch and frames, with fewer nodes than the exporter gives, and small."""
    encodes = isinstance(step, EncoderStep)
    input_name, output_name = ("audio", "codes") if encodes else ("codes", "audio")
    state = step.init_state(2)
    beam_size = step.beam_size if isinstance(step, EncoderStep) else 1
    depth = {"num_codebooks": torch.full((2,), info.num_codebooks)} if beam_size > 1 else {}
    frames = torch.export.Dim("frames", min=1, max=1 << 20)
    length: Any = frames * info.frame_size if encodes else frames
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        # What the exporter says of itself, and that all states share the name of the batch axis.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*axis name: batch.*")
        path = Path(temporary) / "graph.onnx"
        torch.onnx.export(
            step,
            (example,),
            path,
            kwargs={"state": state, **depth},
            dynamo=True,
            opset_version=OPSET,
            input_names=[input_name, *(f"state.{name}" for name in state), *depth],
            output_names=[output_name, *(f"new_state.{name}" for name in state)],
            dynamic_shapes={
                input_name: {0: batch, 2: length},
                "state": {name: {0: batch} for name in state},
                **{name: {0: batch} for name in depth},
            },
            external_data=False,
            # The exporter's own optimizer takes any number up to 1e-8 for zero, and so drops the
            # floor under silent spectra; onnxruntime optimizes at load, exactly.
            optimize=False,
            verbose=False,
        )
        model = onnx.load(path)
    join_splits(model)
    join_sums(model)
    join_taps(model)
    compact(model, step)
    for node in model.graph.node:  # traces of the exporter: large, and of no use to a reader
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    return model


def _write(model: onnx.ModelProto, path: Path, properties: dict[str, str]) -> None:
    """Save a graph with its `properties`."""
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    log.info("%s: %.1f MB", path.name, path.stat().st_size / 1e6)
