"""Which entry an input gets: the nearest one, or by a method that spreads inputs or gradients."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass as config_dataclass
from torch import Tensor, nn

from ..config import FROZEN
from ..registry import Registry


@dataclass(frozen=True)
class Assigned:
    """What inputs [..., D] were given.

    Attributes:
        codes: int64 [...].
        vectors: The entries of these codes [..., D], differentiable with respect to the table, and
            to the inputs where the assignment is.
        learned: The same values, differentiable with respect to the table only.
    """

    codes: Tensor
    vectors: Tensor
    learned: Tensor


class Assignment(nn.Module, ABC):
    """How codes are given in training.

    Outside of training the nearest entry is taken, whatever the method: a code must depend neither
    on chance nor on the other frames of the batch.
    """

    differentiable = False  # whether gradients reach the inputs through the assignment

    def forward(self, x: Tensor, table: Tensor) -> Assigned:
        """Give inputs [..., D] their entries of the table [V, D]."""
        codes = self.choose(x.detach(), table.detach()) if self.training else nearest(x, table)
        vectors = F.embedding(codes, table)
        return Assigned(codes, vectors, vectors)

    @abstractmethod
    def choose(self, x: Tensor, table: Tensor) -> Tensor:
        """Codes int64 [...] in training of inputs [..., D], without gradient."""


ASSIGNMENTS: Registry[Assignment] = Registry("assignment")


@ASSIGNMENTS.register("nearest")
class Nearest(Assignment):
    """The entry at the smallest Euclidean distance.

    Reference: VQ-VAE, https://arxiv.org/abs/1711.00937
    """

    @config_dataclass(frozen=True, config=FROZEN)
    class Config:
        """No options."""

    def __init__(self, config: Config) -> None:
        super().__init__()

    def choose(self, x: Tensor, table: Tensor) -> Tensor:
        """The nearest entries."""
        return nearest(x, table)


def scores(x: Tensor, table: Tensor) -> Tensor:
    """How near inputs [..., D] are to the entries [V, D]: [..., V], largest for the nearest.

    |x - v|^2 = |x|^2 - 2 (x·v - |v|^2 / 2), and |x|^2 is the same for all v.
    """
    return x @ table.T - 0.5 * table.square().sum(-1)


def nearest(x: Tensor, table: Tensor) -> Tensor:
    """Codes int64 [...] of the entries [V, D] nearest to inputs [..., D]."""
    return scores(x, table).argmax(-1)


def soft_lookup(logits: Tensor, codes: Tensor, table: Tensor) -> Tensor:
    """Entries of `codes` [...], with the gradient of a softmax over all entries.

    The value is ``table[codes]``; the gradient is that of ``softmax(logits) @ table``, so that it
    reaches what the logits depend on, and every entry through them.

    Args:
        logits: [..., V].
        codes: int64 [...].
        table: [V, D].
    """
    hard = F.embedding(codes, table)
    share = logits.softmax(-1)
    moved: Tensor = (share - share.detach()) @ table.detach()
    return torch.add(hard, moved)
