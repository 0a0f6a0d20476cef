"""`sotto prepare`: scan a corpus, resample it once, measure every clip, write a manifest."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from sotto.codec.atomic import atomic_path
from sotto.codec.errors import AudioError, ConfigError

from .cache import AudioCache
from .manifest import Clip
from .measure import Measures, measure_file

MANIFEST = "manifest.csv"
DROPPED = "dropped.csv"


@dataclass(frozen=True)
class Limits:
    """Which clips are worth training on.

    Attributes:
        min_seconds: Shorter ones are dropped.
        max_seconds: Longer ones are dropped; None keeps all.
        max_clipped_share: More flat tops are dropped.
        max_silent_share: More silence is dropped.
        min_bandwidth_hz: Narrower recordings are dropped.
    """

    min_seconds: float = 0.3
    max_seconds: float | None = None
    max_clipped_share: float = 0.01
    max_silent_share: float = 0.9
    min_bandwidth_hz: float = 1000.0

    def __post_init__(self) -> None:
        """The longest clip must not be shorter than the shortest."""
        if self.max_seconds is not None and self.max_seconds < self.min_seconds:
            raise ConfigError(
                f"max_seconds={self.max_seconds:g} is below min_seconds={self.min_seconds:g}; "
                "no clip could be kept"
            )

    def refuse(self, found: Measures) -> tuple[str, str] | None:
        """Why a clip is dropped, in a word and with its figures; None if it is kept."""
        seconds, clipped, silent = found.seconds, found.clipped_share, found.silent_share
        if seconds < self.min_seconds:
            return "too short", f"{seconds:.3g} s; at least {self.min_seconds:g} s wanted"
        if self.max_seconds is not None and seconds > self.max_seconds:
            return "too long", f"{seconds:.6g} s; at most {self.max_seconds:g} s wanted"
        if found.bandwidth_hz == 0:
            return "silent", "no sound at all"
        if silent > self.max_silent_share:
            return "silent", f"{silent:.3g} of it; at most {self.max_silent_share:g} wanted"
        if clipped > self.max_clipped_share:
            return "clipped", f"{clipped:.3g} of it; at most {self.max_clipped_share:g} wanted"
        if found.bandwidth_hz < self.min_bandwidth_hz:
            wanted = f"at least {self.min_bandwidth_hz:g} Hz wanted"
            return "narrow", f"{found.bandwidth_hz:.0f} Hz; {wanted}"
        return None


@dataclass(frozen=True)
class Prepared:
    """One clip, looked at.

    Attributes:
        clip: Where it is and whose.
        measures: What it is like; None if it cannot be read.
        dropped: Why it is left out; None if it is kept.
        detail: The figures it was dropped for, or the error of a clip that cannot be read.
    """

    clip: Clip
    measures: Measures | None
    dropped: str | None
    detail: str = ""


def prepare(
    clips: Sequence[Clip], cache: AudioCache, limits: Limits, *, jobs: int | None = None
) -> list[Prepared]:
    """Measure all clips and resample those that are kept into the cache, with a progress bar.

    A clip that cannot be read is reported in its place and stops nothing.

    Args:
        clips: From `source_clips`.
        cache: At the model's rate.
        limits: What is kept.
        jobs: Processes; one per core if None.

    Raises:
        AudioError: The cache cannot be written.
    """
    jobs = min(jobs or os.cpu_count() or 1, len(clips))
    look = partial(_look, cache, limits)
    bar = partial(tqdm, total=len(clips), desc="prepare", unit="clip")
    if jobs <= 1:
        return list(bar(map(look, clips)))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return list(bar(pool.map(look, clips, chunksize=8)))


def _look(cache: AudioCache, limits: Limits, clip: Clip) -> Prepared:
    try:
        found = measure_file(clip.path)
    except AudioError as error:
        return Prepared(clip, None, "unreadable", str(error))
    refused = limits.refuse(found)
    if refused is not None:
        return Prepared(clip, found, *refused)
    cache.get(clip.path)
    return Prepared(clip, found, None)


def write_manifest(prepared: Sequence[Prepared], folder: Path) -> None:
    """Write ``manifest.csv`` of the clips that are kept, and ``dropped.csv`` of the others.

    Raises:
        AudioError: The folder cannot be written, or nothing is kept.
    """
    kept = [item for item in prepared if item.dropped is None]
    if not kept:
        raise AudioError(f"none of {len(prepared)} clips is kept: {counts(prepared)}")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_identity(item.clip) | _numbers(item.measures) for item in kept]
    _write(folder / MANIFEST, rows)
    lost = [item for item in prepared if item.dropped is not None]
    reasons = [
        {"path": str(item.clip.path.resolve()), "reason": item.dropped or ""}
        | {"detail": item.detail}
        | _numbers(item.measures)
        for item in sorted(lost, key=lambda item: item.measures is None)
    ]
    _write(folder / DROPPED, reasons)


def counts(prepared: Sequence[Prepared]) -> str:
    """How many clips were kept and dropped, and why, in a line."""
    reasons = Counter(item.dropped or "kept" for item in prepared)
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def _identity(clip: Clip) -> dict[str, str]:
    path = str(clip.path.resolve())
    found = {"path": path, "split": clip.split, "source": clip.source, "speaker": clip.speaker}
    return found | ({"transcript": clip.transcript} if clip.transcript else {})


def _numbers(found: Measures | None) -> dict[str, str]:
    """Every measure as text; nothing for what could not be measured."""
    if found is None:
        return {}
    return {k: "" if v is None else f"{v:.6g}" for k, v in asdict(found).items()}


def _write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["path", "reason"]
    with (
        atomic_path(path, AudioError) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def kept_measures(prepared: Sequence[Prepared]) -> Iterator[tuple[Clip, Measures]]:
    """The clips that are kept, with what they are like."""
    for item in prepared:
        if item.dropped is None and item.measures is not None:
            yield item.clip, item.measures
