"""The clip that demo and benchmark use when no other is given."""

from importlib.resources import files

import numpy as np
import numpy.typing as npt
import soundfile


def sample_clip() -> tuple[npt.NDArray[np.float32], int]:
    """Two spoken sentences: float32 [S], about seven seconds, and their rate of 24000 Hz.

    The voice is synthetic, so that anyone may pass it on and make it again: espeak-ng 1.51,
    ``espeak-ng -v en-us -s 165 -p 45 -w OUT.wav "A neural codec turns speech into a short list of
    numbers. Whoever has the code books can turn them back into a voice."``, resampled from
    22050 Hz by soxr, silence set to 0.15 s at both ends, peak set to
    0.7, 16-bit FLAC.
    """
    with files("sotto.bench").joinpath("data/sample.flac").open("rb") as file:
        audio, sample_rate = soundfile.read(file, dtype="float32")
    return audio, int(sample_rate)
