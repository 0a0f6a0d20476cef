"""Random crops of clips; item `i` depends on the seed and `i` only, so a run resumes exactly."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sotto.codec.config import CodecConfig
from sotto.codec.errors import AudioError

from .cache import AudioCache
from .config import DataConfig
from .manifest import Clip


@dataclass(frozen=True)
class Batch:
    """Training crops.

    Attributes:
        audio: float32 [B, 1, S].
        bandwidth_hz: float32 [B], up to where each crop holds sound.
    """

    audio: Tensor
    bandwidth_hz: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(self.audio.to(device), self.bandwidth_hz.to(device))


class CropDataset(Dataset[tuple[Tensor, float]]):
    """An endless list of random crops: item `i` is drawn with a generator seeded by `i`."""

    def __init__(
        self,
        clips: Sequence[Clip],
        cache: AudioCache,
        config: DataConfig,
        num_samples: int,
        seed: int,
    ) -> None:
        """Index the clips; those that the cache does not hold yet are decoded.

        Raises:
            AudioError: No clips, a clip that cannot be read, or nothing but empty clips.
        """
        if not clips:
            raise AudioError("no training clips; check data, its split column and dataset.sources")
        self.clips = list(clips)
        self.cache = cache
        self.config = config
        self.num_samples = num_samples
        self.seed = seed
        lengths = np.array([len(cache.get(clip.path)) for clip in self.clips], dtype=np.float64)
        if not lengths.any():
            raise AudioError("all training clips are empty")
        self.cumulative = np.cumsum(self._weights(lengths))

    def _weights(self, lengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Chance of each clip: its length, tempered by how much its speaker has; 0 if empty."""
        totals: dict[str, float] = {}
        for clip, length in zip(self.clips, lengths, strict=True):
            totals[clip.speaker] = totals.get(clip.speaker, 0.0) + float(length)
        speaker = np.array([totals[clip.speaker] for clip in self.clips])
        weights: npt.NDArray[np.float64] = (
            lengths * np.maximum(speaker, 1.0) ** -self.config.speaker_balance
        )
        return weights

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        """Crop `index`: float32 [1, S] and its bandwidth in Hz; short clips are joined."""
        random = np.random.default_rng((self.seed, index))
        pieces: list[npt.NDArray[np.float32]] = []
        missing, bandwidth = self.num_samples, self.cache.sample_rate / 2
        while missing > 0:
            clip, piece = self._draw(random, missing)
            bandwidth = min(bandwidth, clip.bandwidth_hz or bandwidth)
            pieces.append(piece)
            missing -= len(piece)
        audio = np.concatenate(pieces)
        gain = 10 ** (random.uniform(self.config.min_gain_db, self.config.max_gain_db) / 20)
        peak = float(np.abs(audio).max())
        audio *= np.float32(min(gain, 1 / max(peak, 1e-3)))
        return torch.from_numpy(audio)[None], bandwidth

    def _draw(
        self, random: np.random.Generator, missing: int
    ) -> tuple[Clip, npt.NDArray[np.float32]]:
        """Up to `missing` samples from a random place of a random clip."""
        pick = np.searchsorted(self.cumulative, random.uniform(0, self.cumulative[-1]), "right")
        clip = self.clips[min(int(pick), len(self.clips) - 1)]
        samples = self.cache.get(clip.path)
        start = int(random.integers(0, max(len(samples) - missing, 0) + 1))
        piece = samples[start : start + missing].astype(np.float32) / np.float32(32768)
        return clip, piece


class RangeSampler(Sampler[int]):
    """Indices from `start` to `stop`: the part of the endless list that is still to come."""

    def __init__(self, start: int, stop: int) -> None:
        self.indices = range(start, stop)

    def __iter__(self) -> Iterator[int]:
        """Indices in order."""
        return iter(self.indices)

    def __len__(self) -> int:
        """How many are left."""
        return len(self.indices)


def collate(items: list[tuple[Tensor, float]]) -> Batch:
    """Stack crops into a batch."""
    return Batch(
        torch.stack([audio for audio, _ in items]),
        torch.tensor([bandwidth for _, bandwidth in items]),
    )


def crop_samples(config: DataConfig, model: CodecConfig) -> int:
    """Samples of a crop: whole frames, at least two."""
    frames = round(config.crop_seconds * model.frame_rate)
    return max(frames, 2) * model.frame_size


def batches(dataset: CropDataset, start_step: int, total_steps: int) -> Iterator[Batch]:
    """The batches of steps `start_step` to `total_steps`."""
    size = dataset.config.batch_size
    loader: Iterable[Batch] = DataLoader(
        dataset,
        batch_size=size,
        sampler=RangeSampler(start_step * size, total_steps * size),
        num_workers=dataset.config.workers,
        collate_fn=collate,
        persistent_workers=False,
    )
    yield from loader
