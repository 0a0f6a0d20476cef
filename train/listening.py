"""PESQ and STOI while a codec trains, where their packages are installed."""

import logging
from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]
Listener = Callable[[Audio, Audio, int], float]

log = logging.getLogger(__name__)


@cache
def listeners() -> dict[str, Listener]:
    """Scores of decoded audio against its original, by name; none if a package is missing."""
    try:
        from sotto.bench.perceptual import pesq_wb, stoi
    except ModuleNotFoundError as error:
        log.warning(
            "validation goes without PESQ and STOI: %s is not installed; sotto-codec[eval] has it",
            error.name,
        )
        return {}
    return {
        "pesq": lambda reference, decoded, rate: pesq_wb(reference, decoded, rate).value,
        "stoi": lambda reference, decoded, rate: stoi(reference, decoded, rate).value,
    }
