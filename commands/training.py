"""Commands of training."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .options import extra, say

if TYPE_CHECKING:
    from sotto.train.manifest import Clip


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file, such as those in train/configs.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    dry_run: Annotated[bool, typer.Option(help="Describe the model, take two steps.")] = False,
) -> None:
    """Train a codec; the same command again goes on where it stopped.

    Several GPUs: torchrun --nproc_per_node 8 -m sotto train CONFIG.yaml ...
    """
    with extra("train"):
        from sotto.train.config import load_config
        from sotto.train.dry_run import dry_run as describe
        from sotto.train.loop import Trainer
        from sotto.train.processes import joined

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    run = load_config(config, overrides or [])
    with joined(run.device) as first:
        logging.getLogger("sotto").setLevel(logging.INFO if first else logging.WARNING)
        if dry_run:
            describe(run, Console(quiet=not first))
        else:
            Trainer(run).run()


def prepare(
    data: Annotated[str, typer.Argument(help="Folder, manifest, root of LibriTTS, or shards.")],
    target: Annotated[Path, typer.Argument(help="Where manifest and report go.")],
    sample_rate: Annotated[int, typer.Option(help="Hz of the model.")] = 24_000,
    cache: Annotated[Path, typer.Option(help="As dataset.cache.")] = Path(".cache/audio"),
    subset: Annotated[list[str] | None, typer.Option(help="Of LibriTTS; may be repeated.")] = None,
    download: Annotated[bool, typer.Option(help="Get missing subsets of LibriTTS.")] = False,
    min_seconds: Annotated[float, typer.Option(min=0, help="Shorter clips are dropped.")] = 0.3,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="Longer clips are dropped; default: none is.")
    ] = None,
    max_clipped_share: Annotated[
        float, typer.Option(min=0, max=1, help="More samples in flat tops: the clip is dropped.")
    ] = 0.01,
    max_silent_share: Annotated[
        float, typer.Option(min=0, max=1, help="More frames without sound: the clip is dropped.")
    ] = 0.9,
    min_bandwidth_hz: Annotated[
        float, typer.Option(min=0, help="Recordings that end below are dropped.")
    ] = 1000.0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.")] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Pipeline of torchaudio, or folder of a Hugging Face model; repeatable."),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(help="Of the teacher; default: all, averaged.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the teacher runs.")] = "auto",
) -> None:
    """Scan a corpus, resample it once, measure every clip, and report what is kept and dropped.

    With a teacher, its features of every clip are kept, too, for distillation.
    """
    with extra("train"):
        from sotto.train.cache import AudioCache
        from sotto.train.config_data import SourceConfig
        from sotto.train.corpus import source_clips
        from sotto.train.prepare import Limits, kept_measures, write_manifest
        from sotto.train.prepare import prepare as look
        from sotto.train.prepare_report import draw, table

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    source = SourceConfig(path=data, subsets=tuple(subset or ()), download=download)
    limits = Limits(min_seconds, max_seconds, max_clipped_share, max_silent_share, min_bandwidth_hz)
    clips = source_clips(source, cache / "shards")
    prepared = look(clips, AudioCache(cache, sample_rate), limits, jobs=jobs)
    Console().print(table(prepared))
    write_manifest(prepared, target)
    draw(prepared, target)
    say(f"train on it: sotto train CONFIG.yaml data={target / 'manifest.csv'}")
    kept = [clip for clip, _ in kept_measures(prepared)]
    for name in teacher or ():
        _teach(name, layer, device, kept, target, cache)


def _teach(
    name: str, layer: int | None, device: str, clips: "list[Clip]", target: Path, cache: Path
) -> None:
    """Keep the features of one teacher below `target`."""
    from sotto.train.cache import AudioCache
    from sotto.train.features import FeatureStore
    from sotto.train.processes import choose_device
    from sotto.train.teachers import load_teacher, write_features

    teacher = load_teacher(name, layer=layer, device=str(choose_device(device)))
    folder = target / f"teacher-{teacher.info.name}"
    store = FeatureStore.create(folder, teacher.info)
    silent = write_features(clips, teacher, store, AudioCache(cache, teacher.sample_rate))
    if silent:
        say(f"{teacher.info.name} has nothing to say of {silent} of {len(clips)} clips")
    say(f"distill from it: distill.features=[{folder}]")
