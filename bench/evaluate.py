"""Encode and decode every clip of a folder at several bitrates, and measure what came out."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from sotto.codec.audio import read_audio
from sotto.codec.errors import AudioError, ConfigError, ShapeError

from .clips import Audio
from .coders import Coded, Coder, SottoCoder
from .machine import package_versions, this_machine, usable_cores
from .metrics import metrics
from .report import (
    RESAMPLES,
    ClipPoint,
    ClipResult,
    Report,
    SkippedFile,
    summarize_rate,
)
from .scoring import Scores, ScoringTask, score_tasks

if TYPE_CHECKING:
    from sotto.export.runtime import Codec

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
PACKAGES = (
    "sotto-codec",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "soxr",
    "soundfile",
    "pesq",
    "pystoi",
    "librosa",
    "visqol-python",
    "speechmos",
)
DEFINITIONS = {
    "reference": "the clip mixed down to mono and resampled to the codec's rate by soxr; decoded "
    "audio has its exact length and is not shifted, scaled or trimmed before scoring",
    "interval": f"95 % percentile bootstrap of the mean over clips, {RESAMPLES} seeded resamples",
}


def evaluate(
    codec: "Codec",
    folder: str | Path,
    bitrates: Sequence[float],
    *,
    slow: Sequence[str] = (),
    jobs: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Measure a codec on every audio file under a folder.

    Each clip is encoded once with all books; every bitrate decodes a prefix of them. Files that
    cannot be used are in `Report.skipped` with the reason.

    Args:
        codec: The codec to measure.
        folder: Searched with its subfolders for wav, flac, ogg, opus and mp3.
        bitrates: Bits per second; each must mean another number of books.
        slow: Also compute these: "visqol", which takes longer than all others together, "dnsmos".
        jobs: Processes that compute metrics; None for one per core. One job computes in this
            process; more need a main module that can be imported, as multiprocessing does.
        seed: Of the bootstrap.
        progress: Show a bar on stderr if that is a terminal.

    Raises:
        AudioError: The folder is missing, or holds no usable audio.
        CodesError: A bitrate is outside what the model offers.
        ConfigError: No bitrate, two that mean the same books, or fewer than one job.
        ShapeError: The codec returned another number of frames or samples than it should.
        CodecError: A process that computed metrics died.
    """
    return evaluate_coder(
        SottoCoder(codec, bitrates),
        folder,
        bitrates,
        slow=slow,
        jobs=jobs,
        seed=seed,
        progress=progress,
    )


def evaluate_coder(
    coder: Coder,
    folder: str | Path,
    bitrates: Sequence[float],
    *,
    slow: Sequence[str] = (),
    jobs: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Measure any codec as `evaluate` does; `coder` was made for the same `bitrates`."""
    machine = this_machine()  # before the load of this run
    files = find_audio(folder)
    jobs = min(usable_cores(), len(files)) if jobs is None else jobs
    if jobs < 1:
        raise ConfigError(f"jobs={jobs}; expected at least 1 process")
    run = _Pass(coder, Path(folder), tuple(slow))
    scores = _score_with_bar(run, files, jobs, progress)
    if not run.coded:
        first = run.skipped[0]
        raise AudioError(f"none of {len(files)} files can be used; {first.file}: {first.reason}")
    clips = tuple(coded.result(score) for coded, score in zip(run.coded, scores, strict=True))
    measured = {m.name: m.definition for m in metrics(slow=slow)}
    return Report(
        model=coder.description,
        folder=str(folder),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        num_clips=len(clips),
        seconds=math.fsum(clip.seconds for clip in clips),
        skipped=tuple(run.skipped),
        rates=tuple(summarize_rate(clips, i, rate, seed) for i, rate in enumerate(bitrates)),
        codebooks=coder.codebooks,
        definitions=measured | DEFINITIONS | coder.definitions,
        versions=package_versions(*PACKAGES),
        machine=machine,
        clips=clips,
    )


def find_audio(folder: str | Path) -> list[Path]:
    """Audio files under a folder, sorted by path.

    Raises:
        AudioError: No such folder, or no audio in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise AudioError(f"{folder} is not a folder; expected one with audio files")
    files = [path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES]
    files = sorted(path for path in files if path.is_file())
    if not files:
        raise AudioError(f"{folder} holds no audio; looked for {' '.join(AUDIO_SUFFIXES)}")
    return files


def read_reference(path: Path, sample_rate: int) -> Audio:
    """Read a file as mono float32 [S] at `sample_rate`, channels averaged.

    Raises:
        AudioError: Not readable, not finite, damaged, or without samples.
    """
    samples, file_rate = read_audio(path)
    mono = samples.mean(axis=1, dtype=np.float32)
    if mono.size and file_rate != sample_rate:
        mono = soxr.resample(mono, file_rate, sample_rate)
    if not mono.size:
        raise AudioError(f"{path}: {len(samples)} samples at {file_rate} Hz; expected some audio")
    return np.ascontiguousarray(mono, np.float32)


@dataclass(frozen=True)
class _CodedClip:
    """What a codec made of one clip, without the audio."""

    file: str
    seconds: float
    points: tuple[tuple[int, int, float], ...]  # (num_codebooks, num_bytes, coding_s)

    def result(self, scores: Scores) -> ClipResult:
        parents = Path(self.file).parts[:-1]
        points = zip(self.points, scores, strict=True)
        return ClipResult(
            file=self.file,
            group=parents[0] if parents else ".",
            seconds=self.seconds,
            points=tuple(ClipPoint(*point, score) for point, score in points),
        )


@dataclass
class _Pass:
    """One run of a codec over files; grows as clips are coded."""

    coder: Coder
    folder: Path
    slow: tuple[str, ...]
    coded: list[_CodedClip] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)

    def tasks(self, files: Sequence[Path]) -> Iterator[ScoringTask]:
        """Code file after file; those that cannot be read are noted and left out."""
        rate = self.coder.sample_rate
        for path in files:
            name = path.relative_to(self.folder).as_posix()
            try:
                audio = read_reference(path, rate)
            except AudioError as error:
                self.skipped.append(SkippedFile(name, str(error)))
                continue
            coded = self._code(name, audio)
            points = tuple((c.num_codebooks, c.num_bytes, c.coding_s) for c in coded)
            self.coded.append(_CodedClip(name, audio.size / rate, points))
            yield ScoringTask(audio, tuple(c.audio for c in coded), rate, self.slow)

    def _code(self, name: str, audio: Audio) -> tuple[Coded, ...]:
        try:
            return self.coder.code(audio)
        except ShapeError as error:
            raise ShapeError(f"{name}: {error}") from error


def _score_with_bar(run: _Pass, files: Sequence[Path], jobs: int, show: bool) -> list[Scores]:
    columns = ("evaluating", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hide = not (show and sys.stderr.isatty())
    results = []
    with Progress(*columns, console=console, transient=True, disable=hide) as bar:
        task = bar.add_task("evaluating", total=len(files))
        for scores in score_tasks(run.tasks(files), jobs):
            results.append(scores)
            bar.update(task, completed=len(results) + len(run.skipped))
    return results
