"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all."""

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from sotto.codec.errors import BundleError

LATEST = "checkpoint"
BEST = "checkpoint-best"


def save_checkpoint(
    run: Path,
    tensors: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    *,
    name: str = LATEST,
    keep: int = 1,
) -> None:
    """Write `tensors` and `meta` as the latest checkpoint of a run.

    The folder is written beside the old one and then takes its name, so that a run stopped at any
    moment finds a whole checkpoint.

    Args:
        run: Folder of the run.
        tensors: All that the run needs to go on.
        meta: What of it is no tensor; ``step`` names the checkpoint when it is no longer the
            latest.
        name: Folder inside `run`.
        keep: How many stay, this one included.

    Raises:
        BundleError: It cannot be written, because the disk is full for one; the checkpoint from
            before is whole.
    """
    for left_over in run.glob(f".{LATEST}-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    part = run / f".{LATEST}-{secrets.token_hex(6)}"
    try:
        part.mkdir(parents=True)
        detached = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(detached, part / "tensors.safetensors")
        (part / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        _take_over(run, part, name, keep)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)  # make room for another try
        raise BundleError(
            f"cannot save a checkpoint in '{run}': {error}; the one from before is whole: when the "
            "cause is gone, run the same command to go on from it"
        ) from error


def _take_over(run: Path, part: Path, name: str, keep: int) -> None:
    """Let `part` be the checkpoint `name`; the one that was is numbered or removed."""
    latest, previous = run / name, run / f"{name}-previous"
    if latest.exists():  # if not, the previous one is all there is
        shutil.rmtree(previous, ignore_errors=True)
        latest.rename(previous)
    part.rename(latest)
    if keep > 1 and previous.exists():
        step = int(json.loads((previous / "meta.json").read_text(encoding="utf-8"))["step"])
        numbered = run / f"{name}-{step:09d}"
        shutil.rmtree(numbered, ignore_errors=True)
        previous.rename(numbered)
    shutil.rmtree(previous, ignore_errors=True)
    older = sorted(run.glob(f"{name}-" + "[0-9]" * 9))
    for folder in older[: max(len(older) - (keep - 1), 0)] if name == LATEST else ():
        shutil.rmtree(folder, ignore_errors=True)


def load_checkpoint(
    run: Path, name: str = LATEST
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and meta of the latest checkpoint of a run, or None if it has none.

    Raises:
        BundleError: The checkpoint is damaged.
    """
    for folder in (run / name, run / f"{name}-previous"):
        if folder.is_dir():
            try:
                meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
                if not isinstance(meta, dict):
                    raise ValueError("meta.json does not hold an object")
                return load_file(folder / "tensors.safetensors"), meta
            except (OSError, ValueError, SafetensorError) as error:
                raise BundleError(f"checkpoint '{folder}' is damaged: {error}") from error
    return None


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every name with `prefix` and a dot in front."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix`, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer by parameter number and name, all as tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, tensor in tensors.items():
        number, _, name = path.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
