"""Activations of waveform networks, chosen by name."""

from typing import Literal

import torch
from torch import Tensor, nn

ActivationName = Literal["elu", "leaky_relu", "snake"]


class Snake(nn.Module):
    """``x + sin^2(a x) / a`` with a learned `a` per channel: periodic, as voices are.

    Reference: https://arxiv.org/abs/2006.08195; in a codec, DAC, https://arxiv.org/abs/2306.06546
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, dim, T] to [B, dim, T]."""
        alpha = self.alpha
        return x + (alpha * x).sin().square() / (alpha + 1e-9)


def activation(name: ActivationName, dim: int) -> nn.Module:
    """The activation `name` for signals [B, dim, T]."""
    if name == "snake":
        return Snake(dim)
    return nn.ELU() if name == "elu" else nn.LeakyReLU(0.1)
