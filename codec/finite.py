"""Audio must be finite; needs numpy only."""

import numpy as np
import numpy.typing as npt

from .errors import AudioError


def check_finite(
    audio: npt.NDArray[np.floating], first_sample: int = 0, sample_rate: int | None = None
) -> None:
    """Raise AudioError if audio holds NaN or infinity, naming the first place.

    Args:
        audio: [S], [S, C] or a batch [B, 1, S].
        first_sample: Where in the stream `audio` begins.
        sample_rate: Hz; if given, the message tells the time as well.
    """
    finite = np.isfinite(audio)
    if finite.all():
        return
    place = tuple(int(i) for i in np.argwhere(~finite)[0])
    batched = audio.ndim == 3
    sample = first_sample + place[-1 if batched else 0]
    time = f" ({sample / sample_rate:.3f} s)" if sample_rate else ""
    which = ""
    if batched and len(audio) > 1:
        which = f" of batch item {place[0]}"
    elif audio.ndim == 2 and audio.shape[1] > 1:
        which = f" of channel {place[1]}"
    raise AudioError(
        f"sample {sample}{time}{which} is {audio[place]}; expected finite numbers in [-1, 1]"
    )
