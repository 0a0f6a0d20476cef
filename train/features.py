"""Features of a teacher on disk: one file per clip, read for any stretch at any frame rate."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sotto.codec.atomic import atomic_path
from sotto.codec.errors import AudioError, CodecError

from .cache import clip_key

Features = npt.NDArray[np.float32]
Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TeacherInfo:
    """Whose features they are.

    Attributes:
        name: Pipeline or folder that the teacher was loaded from.
        width: Channels.
        frame_rate: Feature frames per second.
    """

    name: str
    width: int
    frame_rate: float


@dataclass(frozen=True)
class Place:
    """A stretch of a clip inside a crop: `length` samples at the codec's rate from `start` on."""

    path: Path
    start: int
    length: int


class FeatureStore:
    """A folder with ``teacher.json`` and a float16 array [N, width] per clip."""

    def __init__(self, folder: Path) -> None:
        """Open what `create` made.

        Raises:
            AudioError: It is not there, or damaged.
        """
        self.folder = folder
        try:
            self.info = TeacherInfo(**json.loads((folder / "teacher.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise AudioError(
                f"'{folder}' has no features of a teacher ({error}); make them with "
                "sotto prepare DATA OUT --teacher NAME"
            ) from error

    @classmethod
    def create(cls, folder: Path, info: TeacherInfo) -> "FeatureStore":
        """Make the folder, or go on with one of the same teacher.

        Raises:
            AudioError: The folder holds features of another teacher.
        """
        path = folder / "teacher.json"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path, AudioError) as part:
                part.write_text(json.dumps(asdict(info), indent=2) + "\n", encoding="utf-8")
        store = cls(folder)
        if store.info != info:
            raise AudioError(f"'{folder}' holds features of {store.info}, not of {info}")
        return store

    def has(self, clip: Path) -> bool:
        """Whether the clip, as it is now, has features."""
        return self._file(clip).is_file()

    def put(self, clip: Path, features: Features) -> None:
        """Keep the features [N, width] of a clip.

        Raises:
            CodecError: The disk is full, for one.
        """
        file = self._file(clip)
        try:
            with atomic_path(file, CodecError) as part, part.open("wb") as out:
                np.save(out, features.astype(np.float16), allow_pickle=False)
        except OSError as error:
            raise CodecError(f"cannot write '{file}': {error}; make room") from error

    def mean(self, clip: Path, begin_s: Times, end_s: Times) -> Features:
        """Mean features [T, width] of a clip over T stretches, given in seconds.

        A feature frame stands for its share of time; past the last one, it goes on.

        Raises:
            AudioError: The clip has no features.
        """
        try:
            stored = np.load(self._file(clip), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise AudioError(
                f"no features of '{clip}' in '{self.folder}'; make them with "
                "sotto prepare DATA OUT --teacher NAME"
            ) from error
        last = len(stored) - _SHORTEST
        begin = np.clip(begin_s * self.info.frame_rate, 0, last)
        end = np.maximum(np.minimum(end_s * self.info.frame_rate, len(stored)), begin + _SHORTEST)
        first = int(begin.min())
        piece = stored[first : int(np.ceil(end.max()))].astype(np.float64)
        total = np.concatenate([np.zeros((1, piece.shape[1])), piece.cumsum(axis=0)])

        def integral(at: Times) -> npt.NDArray[np.float64]:
            whole = np.minimum(at.astype(np.int64), len(piece) - 1)
            found: npt.NDArray[np.float64] = total[whole] + (at - whole)[:, None] * piece[whole]
            return found

        found = (integral(end - first) - integral(begin - first)) / (end - begin)[:, None]
        return found.astype(np.float32)

    def _file(self, clip: Path) -> Path:
        return self.folder / f"{clip_key(clip)}.npy"


_SHORTEST = 1e-3  # of a feature frame: a stretch that is asked for is never empty


def crop_features(
    stores: Sequence[FeatureStore], places: Sequence[Place], frame_size: int, sample_rate: int
) -> Tensor:
    """What all teachers say of each frame of a crop: float32 [T, sum of widths].

    A frame belongs to the place that holds its middle.

    Args:
        stores: One per teacher.
        places: What the crop is made of, in order.
        frame_size: Samples per frame of the codec.
        sample_rate: Of the codec in Hz.

    Raises:
        AudioError: A clip has no features.
    """
    rows, offset = [], 0
    for place in places:
        first = -(
            -(offset - frame_size // 2) // frame_size
        )  # middles from the place's first sample
        after = -(-(offset + place.length - frame_size // 2) // frame_size)
        begin = frame_size * np.arange(max(first, 0), after, dtype=np.float64)
        shift = place.start - offset
        if len(begin):
            low = np.clip(begin, offset, offset + place.length) + shift
            high = np.clip(begin + frame_size, offset, offset + place.length) + shift
            of_teachers = [
                s.mean(place.path, low / sample_rate, high / sample_rate) for s in stores
            ]
            rows.append(np.concatenate(of_teachers, axis=1))
        offset += place.length
    return torch.from_numpy(np.concatenate(rows))
