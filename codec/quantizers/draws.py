"""Random numbers of a training step that a run can draw again."""

import torch

from .. import ranks


def draws(step: int) -> torch.Generator:
    """What is drawn is decided by the count of training steps and by the process alone.

    Where that count is saved with the weights, a run that goes on draws as if it had not stopped.
    """
    return torch.Generator().manual_seed((step << 16) + ranks.index())
