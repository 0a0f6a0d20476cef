"""The LibriTTS corpus in the layout of `torchaudio.datasets.LIBRITTS`.

Reference: LibriTTS, https://arxiv.org/abs/1904.02882
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sotto.codec.errors import AudioError

from .manifest import Clip

log = logging.getLogger(__name__)

FOLDER = "LibriTTS"
TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")
DEV = ("dev-clean", "dev-other")
TEST = ("test-clean", "test-other")
SUBSETS = TRAIN + DEV + TEST
EVERY = 20  # without a dev subset, one speaker of so many is held out


def libritts_root(folder: Path) -> Path | None:
    """The root that torchaudio would be given, if `folder` is it, its ``LibriTTS``, or neither."""
    if (folder / FOLDER).is_dir():
        return folder
    known = any((folder / subset).is_dir() for subset in SUBSETS)
    return folder.parent if known and folder.name == FOLDER else None


def libritts_clips(
    root: Path, subsets: Sequence[str] = (), *, download: bool = False, source: str = "libritts"
) -> list[Clip]:
    """Clips of ``root/LibriTTS/SUBSET/SPEAKER/CHAPTER/*.wav``.

    ``train-*`` is trained on, ``dev-*`` validates, ``test-*`` is left alone; without a ``dev-*``
    subset every twentieth speaker, at least one, is held out.

    Args:
        root: Folder that holds or shall hold ``LibriTTS``.
        subsets: Which; all that are there if empty.
        download: Get those that are not there from the corpus's own site, by torchaudio.
        source: Name of the corpus in the clips.

    Raises:
        AudioError: An unknown subset, one that is not there, or none with audio.
    """
    there = [subset for subset in SUBSETS if (root / FOLDER / subset).is_dir()]
    wanted = list(subsets) or there
    unknown = sorted(set(wanted) - set(SUBSETS))
    if unknown:
        raise AudioError(f"LibriTTS has no subset {unknown[0]!r}; it has {', '.join(SUBSETS)}")
    clips: list[Clip] = []
    for subset in wanted:
        found = _subset(root, subset, there, download, source)
        if not found:
            log.warning("LibriTTS subset '%s' in '%s' holds no audio; left out", subset, root)
        clips += found
    if not clips:
        raise AudioError(
            f"no audio in '{root / FOLDER}': expected SUBSET/SPEAKER/CHAPTER/*.wav with a subset "
            f"of {', '.join(SUBSETS)}"
        )
    return clips if any(subset in DEV for subset in wanted) else _hold_out(clips)


def _subset(root: Path, subset: str, there: list[str], download: bool, source: str) -> list[Clip]:
    """Clips of one subset, downloaded first if asked for."""
    if subset not in there:
        if not download:
            raise AudioError(
                f"no subset '{subset}' in '{root / FOLDER}' (there: {', '.join(there) or 'none'}); "
                "unpack it there, or set download: true"
            )
        from torchaudio.datasets import LIBRITTS  # only here: importing it takes a while

        root.mkdir(parents=True, exist_ok=True)
        LIBRITTS(root, url=subset, download=True)
    split = "train" if subset in TRAIN else "valid" if subset in DEV else "test"
    files = sorted((root / FOLDER / subset).glob("*/*/*.wav"))
    return [Clip(file, split, source, file.parts[-3], None) for file in files]


def _hold_out(clips: list[Clip]) -> list[Clip]:
    speakers = sorted({clip.speaker for clip in clips})
    if len(speakers) < 2:
        log.warning("LibriTTS with one speaker and no dev subset: nothing is held out")
        return clips
    held_out = set(speakers[EVERY - 1 :: EVERY]) or {speakers[-1]}
    return [
        replace(c, split="valid") if c.speaker in held_out and c.split == "train" else c
        for c in clips
    ]
