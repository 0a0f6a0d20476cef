"""WebDataset shards, local or remote: each is read once, front to back, and unpacked beside the cache.

From then on its clips are like any others: drawn in any order, and resumed exactly.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sotto.codec.atomic import atomic_path
from sotto.codec.errors import AudioError, BackendError, CodecError

from .manifest import AUDIO_SUFFIXES, Clip, find_clips

log = logging.getLogger(__name__)

LIST = "clips-2.jsonl"  # of an unpacked shard; written last, so it says that all is there
DESCRIBED = ("split", "source", "speaker", "bandwidth_hz", "transcript")


def is_shards(name: str) -> bool:
    """Whether a name is that of shards, such as ``speech-{0000..0099}.tar``."""
    return name.endswith((".tar", ".tar.gz", ".tgz"))


def shard_clips(urls: str, folder: Path) -> list[Clip]:
    """The clips of all shards.

    A sample is a file of audio and, if there is one, a ``.json`` beside it with the columns of a
    manifest. What is said is the column ``transcript`` or, without it, a ``.txt`` in UTF-8. A shard
    that cannot be read is named and left out.

    Args:
        urls: Paths or URLs with ``{000..099}``, as `webdataset` understands them.
        folder: Where shards are unpacked; one that is there already is not read again.

    Raises:
        BackendError: The package webdataset is not installed.
        AudioError: No shard can be read.
        CodecError: The folder cannot be written, because the disk is full for one.
    """
    try:
        from webdataset.shardlists import expand_urls
    except ModuleNotFoundError as error:
        raise BackendError("shards need webdataset; install sotto-codec[shards]") from error
    clips: list[Clip] = []
    wanted = list(expand_urls(urls))
    for url in wanted:
        place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
        try:
            if not (place / LIST).is_file():
                _unpack(url, place)
            clips += find_clips(place / LIST)
        except AudioError as error:
            log.warning("shard '%s' left out: %s", url, error)
    if not clips:
        raise AudioError(f"none of {len(wanted)} shards of '{urls}' holds audio that can be read")
    return clips


def _unpack(url: str, place: Path) -> None:
    """Write a shard's audio into a folder, and then its list."""
    place.mkdir(parents=True, exist_ok=True)
    lines = []
    try:
        for number, sample in enumerate(_samples(url)):
            row = _write_audio(sample, place, number)
            if row is not None:
                lines.append(json.dumps(row) + "\n")
    except CodecError:
        raise
    except Exception as error:  # whatever a store, a pipe or a damaged archive raises
        told = error.strerror if isinstance(error, OSError) else next(iter(error.args), "")
        raise AudioError(f"{type(error).__name__}: {told}") from error
    with atomic_path(place / LIST, CodecError) as part:
        part.write_text("".join(lines), encoding="utf-8")


def _samples(url: str) -> Iterator[Mapping[str, Any]]:
    from webdataset.gopen import gopen
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with closing(gopen(url)) as stream:
        yield from group_by_keys(tar_file_expander([{"url": url, "stream": stream}]))


def _write_audio(sample: Mapping[str, Any], place: Path, number: int) -> dict[str, Any] | None:
    """One sample's audio as a file of its own; its row of the list, or None without audio."""
    suffix = next((name for name in sample if f".{name}" in AUDIO_SUFFIXES), None)
    if suffix is None:
        return None
    path = place / f"{number:06}.{suffix}"  # not the key: it may hold anything
    try:
        path.write_bytes(sample[suffix])
    except OSError as error:
        raise CodecError(f"cannot unpack shards into '{place}': {error}; make room") from error
    about = json.loads(sample["json"]) if "json" in sample else {}
    key = str(sample.get("__key__", number))
    row: dict[str, Any] = {"path": path.name, "speaker": key.rpartition("/")[0] or place.name}
    if "txt" in sample:
        row["transcript"] = sample["txt"].decode("utf-8", errors="replace").strip()
    return row | {name: about[name] for name in DESCRIBED if about.get(name) is not None}
