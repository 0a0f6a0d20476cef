"""Scales a recipe down, part by part, to what a test can train and export in seconds."""

import math

from pydantic import TypeAdapter

from sotto.codec.config import build
from sotto.train.config import RunConfig, load_config

# Of every part, wherever it is nested: the recipe's structure stays, its widths and depths do not.
SMALL = {
    "channels": 2,
    "max_channels": 4,
    "dim": 16,
    "num_blocks": 1,
    "num_layers": 1,
    "num_heads": 2,
    "context_frames": 6,
    "codebook_dim": 4,
    "semantic_dim": 8,
    "acoustic_dim": 8,
    "mel_bands": 8,
    "noise_bands": 6,
    "scales": 3,
    # Of lists, so many from their end:
    "strides": 2,
    "residual_kernel_sizes": 2,
    "dilations": 1,
    "windows": 1,
    "periods": 1,
}
# Of the scales of a pyramid:
PYRAMID = {"dims": [8, 12, 16], "num_heads": [2, 3]}


def shrink(options):
    """Options with small numbers, recursively."""
    found = {}
    for name, value in options.items():
        if isinstance(value, dict):
            found[name] = shrink(value)
        elif name in PYRAMID and isinstance(value, list):
            found[name] = PYRAMID[name]
        elif name == "context" and isinstance(value, int):
            found[name] = min(value, SMALL["context_frames"])
        elif name in SMALL and isinstance(value, list):
            found[name] = value[-SMALL[name] :]
        elif name in SMALL and value:
            found[name] = min(value, SMALL[name])
        else:
            found[name] = value
    return found


def scaled_down(path, data, folder):
    """The recipe of a YAML file as a run of two steps, with its own stages' last one."""
    config = load_config(path, [f"data={data}"])
    values = TypeAdapter(RunConfig).dump_python(config, mode="json")
    model = values["model"]
    model |= {"latent_dim": 24, "num_codebooks": min(model["num_codebooks"], 4)}
    model["codebook_size"] = 16
    for part in (model["encoder"], model["quantizer"], model["decoder"], *values["discriminators"]):
        part["options"] = shrink(part["options"])
    if "strides" in model["encoder"]["options"]:
        options = model["encoder"]["options"]
        factors = [options[name] for name in ("frame_stride", "frame_steps") if name in options]
        model["frame_size"] = math.prod([*options["strides"], *factors])
    scales = model["quantizer"]["options"]
    if "steps" in scales:  # one book for each place in a frame
        model["num_codebooks"] = sum(scales["steps"] // stride for stride in scales["strides"])
    last = list(values["stages"].values())[-1] | {"steps": 2, "freeze": [], "warmup_steps": 0}
    seconds = max(4 * model["frame_size"], 1_000) / model["sample_rate"]
    values |= {
        "output": str(folder / "run"),
        "dataset": values["dataset"]
        | {"cache": str(folder / "cache"), "crop_seconds": seconds, "batch_size": 2, "workers": 0},
        "loss": values["loss"] | {"mel_windows": [512], "mel_bands": [20], "stft_windows": [256]},
        "stages": {"train": last},
        "device": "cpu",
        "start_latents": 32,
        "log_every": 1,
        "validation_clips": 1,
        "listen_every": 0,
    }
    return build(RunConfig, values)
