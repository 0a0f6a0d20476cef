"""All clips of a run: from one place or a weighted mixture, decoded once; what is broken left out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from sotto.codec import ranks
from sotto.codec.errors import AudioError

from .augment import Augmenter
from .cache import AudioCache
from .config import RunConfig
from .config_data import SourceConfig
from .data import Listen
from .features import FeatureStore, crop_features
from .libritts import libritts_clips, libritts_root
from .manifest import Clip, find_clips
from .shards import is_shards, shard_clips

log = logging.getLogger(__name__)

NAMED = 5  # problems that are spelled out; the rest are counted


@dataclass(frozen=True)
class Corpus:
    """What a run learns from.

    Attributes:
        train: Clips to train on.
        valid: Held-out clips.
        cache: Their audio.
        weights: Chance of each source of a mixture; empty if clips decide by their length.
    """

    train: list[Clip]
    valid: list[Clip]
    cache: AudioCache
    weights: dict[str, float]


def clips_of(config: RunConfig) -> list[Clip]:
    """The clips of a run's ``data`` or ``mixture``, with the source's name where it has one.

    Raises:
        AudioError: A source is not there, or holds no audio.
    """
    if config.data is not None:
        sources: Sequence[SourceConfig] = [SourceConfig(path=str(config.data))]
    else:
        sources = config.mixture
    unpacked = config.dataset.cache / "shards"
    clips = [clip for source in sources for clip in source_clips(source, unpacked)]
    wanted = config.dataset.sources
    return [clip for clip in clips if not wanted or clip.source in wanted]


def source_clips(source: SourceConfig, unpacked: Path) -> list[Clip]:
    """The clips of one source, recognised by what is there.

    Args:
        source: Where to look.
        unpacked: Folder for the audio of shards.

    Raises:
        AudioError: It is not there, or holds no audio.
    """
    path = Path(source.path)
    listed = (path / "manifest.csv").is_file()  # decides, whatever else is there
    root = None if listed else libritts_root(path)
    if is_shards(source.path):
        clips = shard_clips(source.path, unpacked)
    elif source.subsets or source.download or root is not None:
        clips = libritts_clips(root or path, source.subsets, download=source.download)
    else:
        clips = find_clips(path)
    return [replace(clip, source=source.name) for clip in clips] if source.name else clips


def gather(config: RunConfig) -> Corpus:
    """Find and decode all clips; those that cannot be read are named, counted and left out.

    Raises:
        AudioError: A source is not there, or no clip can be read.
    """
    cache = AudioCache(config.dataset.cache, config.model.sample_rate)
    if ranks.index():
        ranks.wait()  # the first process downloads and unpacks alone
    clips = [clip for clip in clips_of(config) if clip.split in ("train", "valid")]
    if not ranks.index():
        ranks.wait()
    _warm(cache, clips)
    readable, problems = sift(cache, clips)
    report(problems, len(clips))
    if clips and not readable:
        raise AudioError(f"none of {len(clips)} clips can be read; the first: {problems[0]}")
    return Corpus(
        [clip for clip in readable if clip.split == "train"],
        [clip for clip in readable if clip.split == "valid"],
        cache,
        {source.name: source.weight for source in config.mixture},
    )


def augmenter(config: RunConfig, cache: AudioCache) -> Augmenter | None:
    """What happens to a run's crops, with its noise recordings; None if nothing does.

    Raises:
        AudioError: The noise is not there, or none of it can be read.
    """
    wanted = config.dataset.augment
    if not wanted.active:
        return None
    clips: list[Clip] = []
    if wanted.noise is not None and wanted.noise_share > 0:
        clips, problems = sift(cache, find_clips(wanted.noise))
        report(problems, len(clips) + len(problems))
        if not clips:
            raise AudioError(f"none of the noise in '{wanted.noise}' can be read: {problems[0]}")
    return Augmenter(wanted, cache.sample_rate, [cache.get(clip.path) for clip in clips])


def listener(config: RunConfig) -> Listen | None:
    """What gives a crop the features of the run's teachers; None without any.

    Raises:
        AudioError: The features are not there.
    """
    if config.distill is None:
        return None
    stores = [FeatureStore(folder) for folder in config.distill.features]
    return partial(
        crop_features,
        stores,
        frame_size=config.model.frame_size,
        sample_rate=config.model.sample_rate,
    )


def sift(cache: AudioCache, clips: Sequence[Clip]) -> tuple[list[Clip], list[str]]:
    """The clips that can be read, and what is wrong with the others."""
    readable, problems = [], []
    for clip in tqdm(clips, desc="audio", unit="clip", disable=len(clips) < 100, leave=False):
        try:
            cache.get(clip.path)
            readable.append(clip)
        except AudioError as error:
            problems.append(str(error))
    return readable, problems


def report(problems: Sequence[str], total: int) -> None:
    """Warn of clips that were left out."""
    if problems:
        more = f" ... and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        first = "; ".join(problems[:NAMED])
        log.warning("%d of %d clips left out: %s%s", len(problems), total, first, more)


def _warm(cache: AudioCache, clips: Sequence[Clip]) -> None:
    """Decode this process's share of the clips while the other processes decode theirs."""
    if ranks.count() > 1:
        sift(cache, clips[ranks.index() :: ranks.count()])
        ranks.wait()
