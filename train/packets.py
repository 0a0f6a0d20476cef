"""Packet loss in training: which frames of codes arrive."""

import torch
from torch import Tensor


def arrivals(shape: tuple[int, int], lost: float, burst: float, random: torch.Generator) -> Tensor:
    """Frames that arrive, by a chain of two states: losses come in bursts.

    Args:
        shape: [B, T].
        lost: Share of frames that are lost, on average.
        burst: Mean length of a loss in frames.
        random: Decides.

    Returns:
        bool [B, T]; the first frame of an item may already be lost.

    Reference: Gilbert, Capacity of a burst-noise channel, Bell System Technical Journal 39, 1960
    """
    B, T = shape
    dice = torch.rand(B, T, generator=random)
    recover = 1 / burst
    fail = min(recover * lost / (1 - lost), 1.0)
    gone = dice[:, 0] < lost
    found = [gone]
    for t in range(1, T):
        gone = torch.where(gone, dice[:, t] >= recover, dice[:, t] < fail)
        found.append(gone)
    return ~torch.stack(found, dim=1)
