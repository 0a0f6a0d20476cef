"""A few clips of a folder, evenly over its sorted files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sotto.codec.errors import AudioError

from .clips import Audio
from .evaluate import find_audio, read_reference


def sample_clips(folder: str | Path, rate: int, most: int) -> Iterator[tuple[Path, Audio]]:
    """Paths below `folder` and their mono audio [S] at `rate`; what cannot be read is left out.

    Raises:
        AudioError: The folder is missing, or none of the files that were chosen can be read.
    """
    files = find_audio(folder)
    chosen = {round(i) for i in np.linspace(0, len(files) - 1, min(most, len(files)))}
    found = 0
    for index in sorted(chosen):
        try:
            yield files[index].relative_to(folder), read_reference(files[index], rate)
            found += 1
        except AudioError:
            continue
    if not found:
        raise AudioError(f"none of {len(chosen)} files of {folder} can be read")
