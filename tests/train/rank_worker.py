"""One process of a run under `torchrun`: trains, then leaves all it holds for comparison."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from sotto.codec import ranks
from sotto.codec.config import build
from sotto.train.config import RunConfig
from sotto.train.loop import Trainer
from sotto.train.processes import joined


def main(settings: Path) -> None:
    """Run the configuration in the file `settings`."""
    torch.set_num_threads(1)
    config = build(RunConfig, json.loads(settings.read_text()))
    with joined(config.device):
        trainer = Trainer(config)
        trainer.run()
        tensors = {name: t.contiguous() for name, t in trainer.learner.tensors().items()}
        save_file(tensors, settings.parent / f"rank{ranks.index()}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
