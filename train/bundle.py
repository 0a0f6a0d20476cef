"""From a training run to a bundle: the averaged decoder, the graphs, the weights, the card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sotto.codec.config import build
from sotto.codec.errors import BundleError
from sotto.codec.model import CodecModel
from sotto.export.arrays import Audio
from sotto.export.onnx import export_bundle
from sotto.export.parity import Parity

from .cache import AudioCache
from .checkpoint import BEST, LATEST, below, load_checkpoint
from .config import RunConfig
from .corpus import clips_of, sift
from .weights import load_weights, save_weights

PARITY_SECONDS = 20


def export_run(
    run: Path, folder: Path, *, weights: bool = True, beam_size: int = 1, best: bool = False
) -> Parity:
    """Export a checkpoint of a run as a bundle.

    The decoder is the moving average. The check against torch runs on clips of the run's own
    data. An existing MODEL_CARD.md is kept; otherwise one is written with the facts of the run.

    Args:
        run: Folder of a run.
        folder: Where the bundle goes.
        weights: Also write ``model.safetensors`` (float16), from which training can go on.
        beam_size: Code paths that the exported encoder keeps in its search; 1 is greedy.
        best: The best checkpoint, which a run with ``keep.best`` has, instead of the last.

    Raises:
        ConfigError: The quantizer has nothing that a beam could search, or too few entries.
        BundleError: No checkpoint, or the graphs differ from torch.
        AudioError: The run's data are not there for the check.
    """
    model, description, step = load_run(run, best=best)
    config = build(RunConfig, description["config"], str(run / "run.json"))
    card = model_card(description, step)
    return _export(model, folder, _speech(config), card, weights=weights, beam_size=beam_size)


def export_again(
    bundle: Path, folder: Path, speech: Audio, *, weights: bool = True, beam_size: int = 1
) -> Parity:
    """Export the weights of a bundle as another one, of the same tokens and with the same card.

    An existing MODEL_CARD.md is kept.

    Args:
        bundle: Folder with ``model.safetensors``.
        folder: Where the new bundle goes.
        speech: float32 [1, 1, S] at the model's rate, for the check against torch.
        weights: Also write ``model.safetensors``.
        beam_size: Code paths that the exported encoder keeps in its search; 1 is greedy.

    Raises:
        ConfigError: The quantizer has nothing that a beam could search, or too few entries.
        BundleError: No weights, the new folder is the old one, or the graphs differ from torch.
    """
    if folder.resolve() == bundle.resolve():
        raise BundleError(f"'{folder}' is the bundle itself; export to another folder")
    model = load_weights(bundle)
    earlier = bundle / "MODEL_CARD.md"
    card = earlier.read_text(encoding="utf-8") if earlier.is_file() else ""
    audio = torch.from_numpy(speech)
    return _export(model, folder, audio, card, weights=weights, beam_size=beam_size)


def load_run(run: Path, *, best: bool = False) -> tuple[CodecModel, dict[str, Any], int]:
    """Model with the averaged decoder, ``run.json``, and step of a run's checkpoint.

    Raises:
        BundleError: Not the folder of a run, no such checkpoint, or it is damaged.
    """
    description = read_run(run)
    config = build(RunConfig, description["config"], str(run / "run.json"))
    found = load_checkpoint(run, BEST if best else LATEST)
    if found is None:
        what = "best checkpoint; train with keep.best=true" if best else "checkpoint yet"
        raise BundleError(f"'{run}' has no {what}")
    tensors, meta = found
    model = CodecModel(config.model)
    try:
        model.load_state_dict(below("model", tensors))
        model.decoder.load_state_dict(below("average", tensors))
        return model, description, int(meta["step"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise BundleError(
            f"the checkpoint of '{run}' does not fit its run.json: {error}"
        ) from error


def read_run(run: Path) -> dict[str, Any]:
    """``run.json`` of a run.

    Raises:
        BundleError: Not the folder of a run.
    """
    try:
        description: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"'{run}' is not the folder of a training run: {error}") from error
    return description


def model_card(description: dict[str, Any], step: int) -> str:
    """What there is to know about a run, as Markdown."""
    config, versions = description["config"], description["versions"]
    model, stages = config["model"], config["stages"]
    steps = ", ".join(f"{name} {stage['steps']}" for name, stage in stages.items())
    data = config["dataset"]
    lines = [
        f"# {model['name']}",
        "",
        f"Version {model['version']}. {model['sample_rate']} Hz, frame {model['frame_size']} "
        f"samples, {model['num_codebooks']} books of {model['codebook_size']} entries.",
        "",
        "## Training",
        "",
        f"- Command: `{description['command']}`",
        f"- Seed {config['seed']}, step {step} ({steps}), batches of {data['batch_size']} x "
        f"{data['crop_seconds']} s",
        f"- Code: revision {description['git_revision']}, torch {versions['torch']}",
        f"- Data: {description['train_clips']} clips of {', '.join(description['sources'])}",
    ]
    return "\n".join(lines) + "\n"


def _export(
    model: CodecModel, folder: Path, speech: Tensor, card: str, *, weights: bool, beam_size: int
) -> Parity:
    """Graphs, the card unless there is one, and the weights if asked for."""
    if (folder / "MODEL_CARD.md").exists():
        card = ""
    parity = export_bundle(model, folder, speech=speech, card=card, beam_size=beam_size)
    if weights:
        save_weights(model, folder)
    return parity


def _speech(config: RunConfig) -> Tensor:
    """Some seconds of held-out clips, one after the other: float32 [1, 1, S]."""
    cache = AudioCache(config.dataset.cache, config.model.sample_rate)
    clips = clips_of(config)
    held_out = [clip for clip in clips if clip.split == "valid"] or clips
    each = PARITY_SECONDS * config.model.sample_rate // 8
    chosen, _ = sift(cache, held_out[:: max(len(held_out) // 8, 1)])
    pieces = [cache.get(clip.path)[:each].astype(np.float32) / 32768 for clip in chosen]
    return torch.from_numpy(np.concatenate(pieces))[None, None]
