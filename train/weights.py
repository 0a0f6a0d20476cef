"""Training weights of a bundle: kept as float16 beside the graphs, so that training can go on."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sotto.codec.config import CodecConfig, build
from sotto.codec.errors import BundleError
from sotto.codec.model import CodecModel

WEIGHTS = "model.safetensors"


def save_weights(model: CodecModel, folder: Path) -> None:
    """Write all weights and codebook statistics as float16, but not the books' recent inputs."""
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith(".recent")
    }
    save_file({name: tensor.contiguous() for name, tensor in half.items()}, folder / WEIGHTS)


def load_weights(folder: Path) -> CodecModel:
    """The torch model of a bundle that has ``model.safetensors``.

    Raises:
        BundleError: No weights in the bundle, or they do not fit its configuration.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        half = load_file(folder / WEIGHTS)
        model = CodecModel(build(CodecConfig, config["model"], str(folder)))
        model.load_state_dict(
            {name: t.float() if t.is_floating_point() else t for name, t in half.items()}
        )
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"'{folder}' has no usable {WEIGHTS}: {error}") from error
    return model
