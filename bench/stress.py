"""How a codec stands what it was not made for: level, clicks and bursts under many conditions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile
from rich.table import Table

from .clips import Audio
from .conditions import CONDITIONS, level, signals
from .perceptual import pesq_wb, stoi
from .sampling import sample_clips

if TYPE_CHECKING:
    from sotto.export.runtime import Codec

WINDOW_S = 0.02
NEIGHBOURS = 3  # windows before and after that a burst may come from
FLOOR_DB = -60.0
DEFINITIONS = {
    "level": "root mean square of the decoded audio against the input, dB, over the whole clip",
    "burst": f"most that a window of {WINDOW_S * 1000:.0f} ms of the decoded audio exceeds the "
    f"loudest input window within {NEIGHBOURS} windows, dB; input counts as at least "
    f"{FLOOR_DB:g} dBFS",
    "click": "largest jump of the decoded audio between samples against the input's largest, dB",
    "peak": "largest decoded sample, dBFS",
}


@dataclass(frozen=True)
class Stress:
    """One condition: means over clips, except `burst_db`, `click_db` and `peak_dbfs`: the worst.

    Attributes:
        condition: Name.
        pesq_wb: Against the input of this condition; nan where it has no meaning.
        stoi: The same.
        level_db: See `DEFINITIONS`; nan for silence.
        burst_db: See `DEFINITIONS`.
        click_db: See `DEFINITIONS`; nan for silence.
        peak_dbfs: See `DEFINITIONS`.
    """

    condition: str
    pesq_wb: float
    stoi: float
    level_db: float
    burst_db: float
    click_db: float
    peak_dbfs: float


def stress(
    codec: "Codec",
    folder: str | Path,
    bitrate: float,
    *,
    max_clips: int = 12,
    listen: Path | None = None,
    seed: int = 0,
) -> list[Stress]:
    """Code clips under every condition, and signals that are not speech.

    Args:
        codec: The codec to measure.
        folder: Searched for audio; clips are taken evenly over its sorted files.
        bitrate: Bits per second.
        max_clips: How many clips at most.
        listen: Folder for the first clip of every condition, input and output, as wav.
        seed: Of noises and of who babbles.

    Raises:
        AudioError: The folder is missing, or holds no audio that can be read.
        CodesError: The model has no such bitrate.
    """
    rate = codec.info.sample_rate
    books = codec.info.choose_num_codebooks(bitrate=bitrate)
    clips = [clip for _, clip in sample_clips(folder, rate, max_clips)]
    rows = []
    for number, (name, make) in enumerate(CONDITIONS.items()):
        rng = np.random.default_rng([seed, number])
        inputs = [make(clip, _but(clips, i), rate, rng) for i, clip in enumerate(clips)]
        rows.append(_row(codec, books, name, inputs, speech=True, listen=listen))
    for name, signal in signals(rate).items():
        rows.append(_row(codec, books, name, [signal], speech=False, listen=listen))
    return rows


def stress_table(rows: Sequence[Stress], bitrate: float) -> Table:
    """One row per condition."""
    table = Table(title=f"Under stress, at {bitrate:g} bit/s")
    table.add_column("condition")
    for heading in ("PESQ-WB", "STOI", "level dB", "burst dB", "click dB", "peak dBFS"):
        table.add_column(heading, justify="right")
    for row in rows:
        values = (row.level_db, row.burst_db, row.click_db, row.peak_dbfs)
        table.add_row(
            row.condition,
            *(_number(value, "{:.3f}") for value in (row.pesq_wb, row.stoi)),
            *(_number(value, "{:+.1f}") for value in values),
        )
    return table


def level_db(reference: Audio, decoded: Audio) -> float:
    """How much louder the decoded audio is as a whole; nan if the input is silent."""
    if not reference.any():
        return math.nan
    return 20 * math.log10(level(decoded) / level(reference))


def burst_db(reference: Audio, decoded: Audio, sample_rate: int) -> float:
    """The worst window of what comes out of nothing."""
    size = int(WINDOW_S * sample_rate)
    before, after = (_window_levels(audio, size) for audio in (reference, decoded))
    padded = np.pad(np.maximum(before, 10 ** (FLOOR_DB / 20)), NEIGHBOURS, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1).max(axis=1)
    return float(20 * np.log10(np.max(after / around)))


def click_db(reference: Audio, decoded: Audio) -> float:
    """The largest step between two samples; nan if the input never moves."""
    most = float(np.abs(np.diff(reference, prepend=0, append=0)).max())
    if most == 0:
        return math.nan
    return 20 * math.log10(
        max(float(np.abs(np.diff(decoded, prepend=0, append=0)).max()), 1e-10) / most
    )


def _row(
    codec: "Codec",
    books: int,
    name: str,
    inputs: Sequence[Audio],
    *,
    speech: bool,
    listen: Path | None,
) -> Stress:
    rate = codec.info.sample_rate
    pairs = []
    for clip in inputs:
        codes = codec.encode(clip[None, None], num_codebooks=books)
        pairs.append((clip, codec.decode(codes, clip.size)[0, 0]))
    if listen is not None:
        listen.mkdir(parents=True, exist_ok=True)
        for kind, audio in zip(("input", "output"), pairs[0], strict=True):
            soundfile.write(listen / f"{name.replace(' ', '-')}-{kind}.wav", audio, rate)
    heard = [(pesq_wb(*pair, rate).value, stoi(*pair, rate).value) for pair in pairs if speech]
    return Stress(
        condition=name,
        pesq_wb=_mean(one for one, _ in heard),
        stoi=_mean(two for _, two in heard),
        level_db=_mean(level_db(*pair) for pair in pairs),
        burst_db=max(burst_db(*pair, rate) for pair in pairs),
        click_db=max(click_db(*pair) for pair in pairs),
        peak_dbfs=max(20 * math.log10(float(np.abs(y).max()) + 1e-10) for _, y in pairs),
    )


def _but(clips: Sequence[Audio], index: int) -> Sequence[Audio]:
    return [clip for i, clip in enumerate(clips) if i != index] or clips


def _window_levels(audio: Audio, size: int) -> npt.NDArray[np.float64]:
    whole = np.pad(audio, (0, -audio.size % size)).reshape(-1, size).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(whole**2, axis=1) + 1e-20))


def _mean(values: Iterator[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else form.format(value)
