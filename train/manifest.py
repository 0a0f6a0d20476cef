"""Which audio there is: clips of a folder or of a CSV or JSON-lines manifest."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sotto.codec.errors import AudioError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"})


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        path: Where it is.
        split: ``train`` or ``valid``.
        source: Corpus it belongs to.
        speaker: Who speaks; the folder where nothing better is known.
        bandwidth_hz: Up to where the recording holds sound, or None if unknown.
        transcript: What is said, or None if unknown.
    """

    path: Path
    split: str
    source: str
    speaker: str
    bandwidth_hz: float | None
    transcript: str | None = None


def find_clips(data: Path) -> list[Clip]:
    """All clips of a folder (its ``manifest.csv`` if it has one) or of a manifest file.

    A manifest is CSV, or JSON lines if it ends in ``.jsonl``. It has a column or key ``path``
    (relative to the manifest) and may have ``split``, ``source``, ``speaker``, ``bandwidth_hz`` and
    ``transcript``. Without splits, every twentieth clip in order of
    path is held out for validation.

    Raises:
        AudioError: Nothing there, or a manifest that cannot be read.
    """
    if data.is_dir():
        manifest = data / "manifest.csv"
        clips = list(_read_rows(manifest)) if manifest.is_file() else list(_scan(data))
    elif data.is_file():
        clips = list(_read_rows(data))
    else:
        raise AudioError(f"'{data}' is neither a folder nor a manifest file")
    if not clips:
        raise AudioError(f"no audio in '{data}' (looked for {', '.join(sorted(AUDIO_SUFFIXES))})")
    return clips


def _scan(folder: Path) -> Iterator[Clip]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    for number, path in enumerate(files):
        parent = str(path.parent.relative_to(folder))
        yield Clip(path, _default_split(number), folder.name, parent, None)


def _read_rows(manifest: Path) -> Iterator[Clip]:
    read = _json_lines if manifest.suffix == ".jsonl" else csv.DictReader
    try:
        with manifest.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(read(file)):
                yield _clip(manifest, number, row)
    except (OSError, ValueError, csv.Error) as error:
        raise AudioError(f"manifest '{manifest}' cannot be read: {error}") from error


def _json_lines(file: Iterable[str]) -> Iterator[Any]:
    return (json.loads(line) for line in file if line.strip())


def _clip(manifest: Path, number: int, row: Any) -> Clip:
    """The clip of row `number`, counted from 0."""
    where = f"row {number + 1}"
    if not isinstance(row, dict) or not isinstance(row.get("path"), str) or not row["path"]:
        raise ValueError(f"{where} has no path")
    bandwidth = row.get("bandwidth_hz")
    try:
        bandwidth_hz = float(bandwidth) if bandwidth else None
    except (TypeError, ValueError):
        bandwidth_hz = 0.0
    if bandwidth_hz is not None and not 0 < bandwidth_hz < float("inf"):
        raise ValueError(f"{where} has bandwidth_hz={bandwidth!r}; expected Hz above 0, or nothing")
    path = manifest.parent / row["path"]
    return Clip(
        path,
        row.get("split") or _default_split(number),
        row.get("source") or manifest.parent.name,
        row.get("speaker") or str(path.parent),
        bandwidth_hz,
        row.get("transcript") or None,
    )


def _default_split(number: int) -> str:
    return "valid" if number % 20 == 19 else "train"
