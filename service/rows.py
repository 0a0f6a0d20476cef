"""Puts channels and blocks together; where there is only one, it is not copied."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[Any]


def stacked(channels: Sequence[Row]) -> Row:
    """Rows [...] of the channels of a call as [C, ...]; most calls have one."""
    return channels[0][np.newaxis] if len(channels) == 1 else np.stack(channels)


def joined(blocks: Sequence[Row]) -> Row:
    """Blocks [C, K, n] one after the other; most chunks are one block."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=2)
