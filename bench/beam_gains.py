"""What a beam gains over greedy search in a trained model, for every number of books."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers.beam import beam_search_each
from sotto.codec.quantizers.residual import ResidualVQ
from sotto.train.weights import load_weights

from .latents import speech_latents
from .quantizer_jobs import Job, report_each
from .quantizer_report import Column

BEAMS = (2, 4, 8)
COLUMNS = (
    Column("gain_db", "gain, dB", 3),
    Column("worst_db", "least of a clip, dB", 3),
    Column("worse", "frames worse", 0),
    Column("frames", "frames", 0),
)


@dataclass(frozen=True)
class BeamTrial:
    """One beam at one number of books, on held-out clips.

    Attributes:
        label: Both.
        seed: 0; nothing is random.
        gain_db: How much less the squared error is than greedily, in the space of the books.
        worst_db: The same, for the clip where it is least.
        worse: Frames whose error is above the greedy one by more than rounding.
        frames: Frames searched.
    """

    label: str
    seed: int
    gain_db: float
    worst_db: float
    worse: int
    frames: int


def compare_beams(
    bundle: Path,
    data: Path,
    cache: Path,
    out: Path,
    *,
    beams: Sequence[int] = BEAMS,
    every: int = 1,
    resume: bool = False,
    console: Console | None = None,
) -> list[BeamTrial]:
    """Search the held-out clips with each beam, print and save the gains.

    Args:
        bundle: Folder of a model with residual books and training weights.
        data: Folder of audio or a manifest, with held-out clips.
        cache: Folder for decoded audio.
        out: Folder for ``beams.json`` and ``.md``.
        beams: Paths kept.
        every: Take every so many-th clip.
        resume: Go on with a run that was stopped.
        console: Where to print.

    Raises:
        BundleError: The bundle has no training weights.
        ConfigError: Its books are not residual; or what is to be resumed was another run.
        AudioError: Too little audio.
    """
    model = load_weights(bundle)
    quantizer, config = model.quantizer, model.config
    if not isinstance(quantizer, ResidualVQ):
        raise ConfigError(
            f"'{bundle}' has a '{config.quantizer.name}' quantizer; beams are compared on residual "
            "books in one space, such as 'rvq'"
        )
    latents = speech_latents(model, data, cache, frames=1000)
    clips = [clip * latents.scale for clip in latents.held_out[::every]]
    about = {"model": f"{config.name} {config.version}", "clips": len(clips)}
    jobs = [
        Job(_label(1, beam), 0, partial(search_clips, quantizer, clips, beam), {"beam": beam})
        for beam in beams
    ]
    return report_each(
        jobs, COLUMNS, about, out / "beams", BeamTrial, console=console or Console(), resume=resume
    )


@torch.no_grad()
def search_clips(quantizer: ResidualVQ, clips: Sequence[Tensor], beam: int) -> list[BeamTrial]:
    """A beam against greedy search on latents [1, T, D] of clips, for 1 to K books."""
    tables = quantizer.tables()
    K = len(tables)
    greedy: list[list[Tensor]] = [[] for _ in range(K)]  # errors [T] of each clip
    found: list[list[Tensor]] = [[] for _ in range(K)]
    for clip in clips:
        x = quantizer.narrow(clip)[0]
        codes = quantizer.encode(clip)[0].T
        for k, path in enumerate(beam_search_each(x, tables, beam)):
            greedy[k].append(_error(x, tables, codes[:, : k + 1]))
            found[k].append(_error(x, tables, path[:, : k + 1]))
    trials = []
    for k in range(K):
        before, after = torch.cat(greedy[k]), torch.cat(found[k])
        gains = [_gain(a, b) for a, b in zip(greedy[k], found[k], strict=True)]
        worse = int((after > before * (1 + 1e-5)).sum())
        label = _label(k + 1, beam)
        trials.append(BeamTrial(label, 0, _gain(before, after), min(gains), worse, len(before)))
    return trials


def _label(books: int, beam: int) -> str:
    return f"{books} book{'s' if books > 1 else ''}, beam {beam}"


def _error(x: Tensor, tables: Sequence[Tensor], codes: Tensor) -> Tensor:
    """Squared error [N] of codes [N, k] for inputs [N, d]."""
    left = x
    for k in range(codes.shape[1]):
        left = left - tables[k][codes[:, k]]
    return left.square().sum(-1)


def _gain(before: Tensor, after: Tensor) -> float:
    return 10 * math.log10(float(before.sum()) / max(float(after.sum()), 1e-12))
