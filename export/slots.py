"""The states of many streams side by side: one array [slots, ...] for each tensor of the state."""

from collections.abc import Sequence
from threading import Lock

import numpy as np

from .arrays import State

FIRST_SLOTS = 16


class StateSlots:
    """Slots that streams take and give back; threads may gather and scatter different slots.

    The lowest free slot is taken first, so that streams lie close together and memory stays small.
    """

    def __init__(self, initial: State) -> None:
        """Keep states like `initial`, the state [1, ...] before the first step."""
        self._initial = {name: value[0] for name, value in initial.items()}
        self._arrays = {
            n: np.zeros((FIRST_SLOTS, *v.shape[1:]), v.dtype) for n, v in initial.items()
        }
        self._free = list(range(FIRST_SLOTS - 1, -1, -1))
        self._taken = 0
        self._lock = Lock()  # held while an array is read, written or replaced by a larger one

    @property
    def taken(self) -> int:
        """Slots in use."""
        return self._taken

    def take(self, count: int) -> tuple[int, ...]:
        """Slots for `count` new streams."""
        with self._lock:
            while len(self._free) < count:
                self._grow()
            slots = tuple(self._free.pop() for _ in range(count))
            self._taken += count
            for name, value in self._initial.items():
                self._arrays[name][list(slots)] = value
        return slots

    def give_back(self, slots: Sequence[int]) -> None:
        """Free slots that no step is using."""
        with self._lock:
            self._free = sorted({*self._free, *slots}, reverse=True)
            self._taken -= len(slots)

    def gather(self, slots: Sequence[int]) -> State:
        """A copy of the states of some streams, [B, ...]."""
        with self._lock:
            return {name: array[list(slots)] for name, array in self._arrays.items()}

    def scatter(self, slots: Sequence[int], state: State) -> None:
        """Write back states [B, ...]."""
        with self._lock:
            for name, array in self._arrays.items():
                array[list(slots)] = state[name]

    def _grow(self) -> None:
        size = self._taken + len(self._free)
        self._arrays = {n: np.concatenate([a, np.zeros_like(a)]) for n, a in self._arrays.items()}
        self._free = [*range(2 * size - 1, size - 1, -1), *self._free]
