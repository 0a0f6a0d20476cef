"""Which audio there is: clips of a folder or of a CSV or JSON-lines manifest."""

import csv
import json
from collections.abc import Iterator
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
    """

    path: Path
    split: str
    source: str
    speaker: str
    bandwidth_hz: float | None


def find_clips(data: Path) -> list[Clip]:
    """All clips of a folder (its ``manifest.csv`` if it has one) or of a manifest file.

    A manifest has a column or key ``path`` (relative to the manifest) and may have ``split``,
    ``source``, ``speaker`` and ``bandwidth_hz``. Without splits, every twentieth clip in order of
    path is held out for validation.

    Raises:
        AudioError: Nothing there, or a manifest row without path.
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
    with manifest.open(encoding="utf-8", newline="") as file:
        rows: Iterator[dict[str, Any]]
        if manifest.suffix == ".jsonl":
            rows = (json.loads(line) for line in file if line.strip())
        else:
            rows = csv.DictReader(file)
        for number, row in enumerate(rows):
            if not row.get("path"):
                raise AudioError(f"{manifest}: row {number + 1} has no path")
            path = manifest.parent / row["path"]
            yield Clip(
                path,
                row.get("split") or _default_split(number),
                row.get("source") or manifest.parent.name,
                row.get("speaker") or str(path.parent),
                float(row["bandwidth_hz"]) if row.get("bandwidth_hz") else None,
            )


def _default_split(number: int) -> str:
    return "valid" if number % 20 == 19 else "train"
