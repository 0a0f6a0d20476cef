"""Streaming state as a value: a nested dict of batch-first tensors, shaped like the module tree."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Union

import torch
from torch import Tensor, nn

State = dict[str, Union[Tensor, "State"]]


class Stateful(nn.Module, ABC):
    """A causal module whose `forward` takes the state of a stream and returns the next one.

    Nothing about a stream is kept on the module, so one module serves any number of streams, and
    a whole signal is just the stream's first call: offline is streaming from `init_state`.
    """

    @abstractmethod
    def init_state(self, batch_size: int) -> State:
        """State before the first sample: all zeros, which is the same as silence on the left."""

    def zeros(self, *shape: int) -> Tensor:
        """A zero tensor of this module's dtype and device."""
        like = next(itertools.chain(self.parameters(), self.buffers()), torch.empty(()))
        return torch.zeros(shape, dtype=like.dtype, device=like.device)


class StreamingModule(Stateful):
    """A `Stateful` module of one input."""

    @abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: `x` [B, T, ...] and the state to output [B, T, ...] and the next state."""


def leaf(state: State, name: str) -> Tensor:
    """The tensor `name` of a state."""
    value = state[name]
    assert isinstance(value, Tensor)
    return value


def branch(state: State, name: str) -> State:
    """The sub-state `name` of a state."""
    value = state[name]
    assert isinstance(value, dict)
    return value


def flatten(state: State, prefix: str = "") -> dict[str, Tensor]:
    """Nested state to dotted names, in a fixed order: ``{"stft.tail": ..., "blocks.0.left": ...}``."""
    flat: dict[str, Tensor] = {}
    for name, value in state.items():
        path = f"{prefix}{name}"
        flat.update({path: value} if isinstance(value, Tensor) else flatten(value, f"{path}."))
    return flat


def unflatten(flat: Mapping[str, Tensor]) -> State:
    """Undo `flatten`."""
    state: State = {}
    for path, value in flat.items():
        *parents, name = path.split(".")
        node = state
        for parent in parents:
            child = node.setdefault(parent, {})
            assert isinstance(child, dict)
            node = child
        node[name] = value
    return state
