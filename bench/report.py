"""What an evaluation found: plain values, and the JSON that keeps them."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sotto.codec.usage import BookUse

from .clips import Score
from .machine import Machine

REPORT_FORMAT = 1
RESAMPLES = 2000


@dataclass(frozen=True)
class ClipPoint:
    """One clip at one bitrate.

    Attributes:
        num_codebooks: Books that were decoded; 0 for a codec without books.
        num_bytes: Bytes that the codes take.
        coding_s: Seconds that encoding and decoding took.
        scores: Metric name -> Score.
    """

    num_codebooks: int
    num_bytes: int
    coding_s: float
    scores: dict[str, Score]


@dataclass(frozen=True)
class ClipResult:
    """One clip at every bitrate.

    Attributes:
        file: Path relative to the evaluated folder.
        group: First folder of that path; "." for files at the top.
        seconds: Length.
        points: In the order of the bitrates.
    """

    file: str
    group: str
    seconds: float
    points: tuple[ClipPoint, ...]


@dataclass(frozen=True)
class SkippedFile:
    """A file that could not be evaluated, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """One metric over clips.

    Attributes:
        mean: Mean over the clips that have a number; nan if none has.
        low: Lower end of the 95 % interval of the mean; nan for fewer than two clips.
        high: Upper end.
        num_clips: Clips with a number.
        num_nan: Clips the metric could not judge.
    """

    mean: float
    low: float
    high: float
    num_clips: int
    num_nan: int


@dataclass(frozen=True)
class RateResult:
    """All clips at one bitrate.

    Attributes:
        bitrate: Bits per second asked for.
        num_codebooks: Books that this means; 0 for a codec without books.
        measured_bitrate: Bits of codes / seconds of audio.
        times_real_time: Seconds of audio / seconds of encoding and decoding.
        metrics: Metric name -> Summary over all clips.
        groups: Group -> metric name -> Summary.
    """

    bitrate: float
    num_codebooks: int
    measured_bitrate: float
    times_real_time: float
    metrics: dict[str, Summary]
    groups: dict[str, dict[str, Summary]]


@dataclass(frozen=True)
class Report:
    """An evaluation: what, on what, with what, and the numbers.

    Attributes:
        model: The codec: name, version, identity, and its sizes.
        folder: Folder that was evaluated, as given.
        created: UTC time, ISO 8601.
        num_clips: Clips evaluated.
        seconds: Their total length.
        skipped: Files left out, with reasons.
        rates: One entry per bitrate.
        codebooks: Use of every book over all clips; empty for a codec without books.
        definitions: What each number means.
        versions: Packages that made the numbers.
        machine: Where it ran.
        clips: Every clip's own numbers.
    """

    model: dict[str, Any]
    folder: str
    created: str
    num_clips: int
    seconds: float
    skipped: tuple[SkippedFile, ...]
    rates: tuple[RateResult, ...]
    codebooks: tuple[BookUse, ...]
    definitions: dict[str, str]
    versions: dict[str, str]
    machine: Machine
    clips: tuple[ClipResult, ...]

    def to_json(self) -> str:
        """The report as JSON; nan becomes null."""
        return to_json({"format": REPORT_FORMAT, **asdict(self)})

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")


def to_json(value: Any) -> str:
    """Indented JSON in which nan, which JSON does not know, is null."""
    return json.dumps(_without_nan(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def summarize(scores: Iterable[Score], seed: int) -> Summary:
    """Mean and 95 % interval of the mean, by a seeded percentile bootstrap over clips."""
    values = np.array([score.value for score in scores])
    numbers = values[~np.isnan(values)]
    num_nan = values.size - numbers.size
    if not numbers.size:
        return Summary(math.nan, math.nan, math.nan, 0, num_nan)
    low = high = math.nan
    if numbers.size > 1:
        rng = np.random.default_rng(seed)
        means = [rng.choice(numbers, numbers.size).mean() for _ in range(RESAMPLES)]
        low, high = map(float, np.percentile(means, [2.5, 97.5]))
    return Summary(float(numbers.mean()), low, high, numbers.size, num_nan)


def summarize_rate(
    clips: Sequence[ClipResult], index: int, bitrate: float, seed: int
) -> RateResult:
    """Sum up all clips at their `index`-th point, which was asked to have `bitrate`."""
    points = [clip.points[index] for clip in clips]
    seconds = math.fsum(clip.seconds for clip in clips)
    groups = sorted({clip.group for clip in clips})
    members = {g: [clip.points[index] for clip in clips if clip.group == g] for g in groups}
    return RateResult(
        bitrate=bitrate,
        num_codebooks=points[0].num_codebooks,
        measured_bitrate=8 * sum(point.num_bytes for point in points) / seconds,
        times_real_time=seconds / math.fsum(point.coding_s for point in points),
        metrics=_summarize_points(points, seed),
        groups={group: _summarize_points(members[group], seed) for group in groups},
    )


def _summarize_points(points: Sequence[ClipPoint], seed: int) -> dict[str, Summary]:
    return {n: summarize((point.scores[n] for point in points), seed) for n in points[0].scores}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
