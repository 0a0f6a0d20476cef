"""Pictures of what a codec does to clips: spectrograms and waveforms, original above decoded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
import scipy.signal
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .clips import Audio
from .sampling import sample_clips

if TYPE_CHECKING:
    from sotto.export.runtime import Codec

matplotlib.use("agg")
LONGEST_S = 4.0
WINDOW = 512
RANGE_DB = (-90.0, -20.0)  # of a full-scale sine


def draw_clips(
    codec: "Codec",
    folder: str | Path,
    bitrates: Sequence[float],
    target: Path,
    *,
    max_clips: int = 12,
) -> list[Path]:
    """One PNG a clip: the original and every bitrate, as spectrogram and as waveform.

    Args:
        codec: The codec to look at.
        folder: Searched for audio; clips are taken evenly over its sorted files.
        bitrates: Bits per second.
        target: Folder for the pictures; made if needed.
        max_clips: How many at most; the first 4 s of each.

    Raises:
        AudioError: The folder is missing, or holds no audio that can be read.
        CodesError: The model has no such bitrate.
    """
    rate = codec.info.sample_rate
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for path, whole in sample_clips(folder, rate, max_clips):
        clip = whole[: int(LONGEST_S * rate)]
        rows = {"original": clip}
        for bitrate in bitrates:
            books = codec.info.choose_num_codebooks(bitrate=bitrate)
            codes = codec.encode(clip[None, None], num_codebooks=books)
            rows[f"{bitrate:g} bit/s"] = codec.decode(codes, clip.size)[0, 0]
        written.append(target / f"{'-'.join(path.with_suffix('').parts)}.png")
        _draw(rows, rate, written[-1])
    return written


def _draw(rows: dict[str, Audio], rate: int, path: Path) -> None:
    figure = Figure(figsize=(14, 2.4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(3, 1), sharex="col")
    peak = max(float(np.abs(audio).max()) for audio in rows.values()) + 1e-3
    middle = int(np.argmax(np.convolve(np.square(rows["original"]), np.ones(960), "same")))
    for (spectrogram, waveform), (name, audio) in zip(axes, rows.items(), strict=True):
        _spectrogram(spectrogram, audio, rate)
        spectrogram.set_title(name, loc="left", fontsize=9)
        around = slice(max(middle - 600, 0), middle + 600)  # 50 ms around the loudest place
        waveform.plot(
            np.arange(audio.size)[around] / rate, audio[around], linewidth=0.8, color="black"
        )
        waveform.set_ylim(-peak, peak)
    axes[-1, 0].set_xlabel("s")
    axes[-1, 1].set_xlabel("s, around the loudest place")
    figure.savefig(path, dpi=80)


def _spectrogram(axes: Axes, audio: Audio, rate: int) -> None:
    hertz, seconds, spectrum = scipy.signal.stft(
        np.pad(audio, (0, max(0, WINDOW - audio.size))),
        rate,
        nperseg=WINDOW,
        noverlap=WINDOW * 3 // 4,
        nfft=2 * WINDOW,
    )
    decibel = 20 * np.log10(np.abs(spectrum) + 1e-10)
    extent = (0.0, float(seconds[-1]), 0.0, float(hertz[-1]))
    low, high = RANGE_DB
    axes.imshow(
        decibel, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=low, vmax=high
    )
    axes.set_ylabel("Hz")
