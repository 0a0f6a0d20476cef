"""Where curves, sounds and pictures of a run can be seen: TensorBoard, and Weights & Biases."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.tensorboard import SummaryWriter

from sotto.codec.errors import BackendError

RUN_ID = "wandb-id.txt"


class Board(Protocol):
    """Shows what a run does."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves, by name."""

    def audio(self, name: str, audio: npt.NDArray[np.float32], step: int, rate: int) -> None:
        """A sound [S] at `rate` Hz."""

    def picture(self, name: str, pixels: npt.NDArray[np.uint8], step: int) -> None:
        """A picture [H, W, 3]."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files in the folder ``tensorboard`` of a run."""

    def __init__(self, run: Path, step: int) -> None:
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves, by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def audio(self, name: str, audio: npt.NDArray[np.float32], step: int, rate: int) -> None:
        """A sound [S] at `rate` Hz."""
        self._writer.add_audio(name, torch.from_numpy(audio), step, rate)

    def picture(self, name: str, pixels: npt.NDArray[np.uint8], step: int) -> None:
        """A picture [H, W, 3]."""
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Nothing more will come."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the same name in a project of Weights & Biases; goes on when the run does."""

    def __init__(self, run: Path, project: str, config: Mapping[str, Any]) -> None:
        """Open or reopen the run.

        Raises:
            BackendError: The package is not installed.
        """
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise BackendError(
                f"wandb={project} needs the package wandb; install sotto-codec[wandb]"
            ) from error
        self._wandb = wandb
        known = run / RUN_ID
        if not known.is_file():
            known.write_text(secrets.token_hex(6) + "\n", encoding="utf-8")
        self._run = wandb.init(
            project=project,
            name=run.name,
            id=known.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(run),
            config=dict(config),
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves, by name."""
        self._run.log(dict(values), step=step)

    def audio(self, name: str, audio: npt.NDArray[np.float32], step: int, rate: int) -> None:
        """A sound [S] at `rate` Hz."""
        self._run.log({name: self._wandb.Audio(audio, sample_rate=rate)}, step=step)

    def picture(self, name: str, pixels: npt.NDArray[np.uint8], step: int) -> None:
        """A picture [H, W, 3]."""
        self._run.log({f"{name}/spectrogram": self._wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        """Nothing more will come."""
        self._run.finish()


def open_boards(
    run: Path, step: int, project: str | None, config: Mapping[str, Any]
) -> list[Board]:
    """TensorBoard, and Weights & Biases if a project is given.

    Raises:
        BackendError: A project is given, but the package is not installed.
    """
    boards: list[Board] = [TensorBoard(run, step)]
    if project is not None:
        boards.append(WeightsAndBiases(run, project, config))
    return boards
