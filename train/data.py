"""Random crops of clips; item `i` depends on the seed and `i` only, so a run resumes exactly."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sotto.codec import ranks
from sotto.codec.config import CodecConfig
from sotto.codec.errors import AudioError

from .augment import Augmenter
from .cache import AudioCache
from .config_data import DataConfig
from .features import Place
from .manifest import Clip
from .signals import leave_signals_to_the_parent


@dataclass(frozen=True)
class Batch:
    """Training crops.

    Attributes:
        audio: float32 [B, 1, S].
        bandwidth_hz: float32 [B], up to where each crop holds sound.
        teachers: float32 [B, T, D], what teachers say of each frame of codes; None without any.
    """

    audio: Tensor
    bandwidth_hz: Tensor
    teachers: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        teachers = None if self.teachers is None else self.teachers.to(device)
        return Batch(self.audio.to(device), self.bandwidth_hz.to(device), teachers)


class Crop(NamedTuple):
    """Audio float32 [1, S], its bandwidth in Hz, and what teachers say of it [T, D], if any do."""

    audio: Tensor
    bandwidth_hz: float
    teachers: Tensor | None = None


# What teachers say of the places that a crop is made of: float32 [T, D].
Listen = Callable[[Sequence[Place]], Tensor]


class CropDataset(Dataset[Crop]):
    """An endless list of random crops: item `i` is drawn with a generator seeded by `i`."""

    def __init__(
        self,
        clips: Sequence[Clip],
        cache: AudioCache,
        config: DataConfig,
        num_samples: int,
        seed: int,
        shares: Mapping[str, float] | None = None,
        augment: Augmenter | None = None,
        listen: Listen | None = None,
    ) -> None:
        """Index the clips; those that the cache does not hold yet are decoded.

        Args:
            clips: What to draw from.
            cache: Their audio.
            config: How to cut it.
            num_samples: Of a crop.
            seed: Decides every crop.
            shares: Chance of each source against the others; by length if not given.
            augment: What may happen to a crop.
            listen: Gives what teachers say of a crop as it was recorded.

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
        self.augment = augment
        self.listen = listen
        lengths = np.array([len(cache.get(clip.path)) for clip in self.clips], dtype=np.float64)
        if not lengths.any():
            raise AudioError("all training clips are empty")
        weights = self._weights(lengths)
        self.cumulative = np.cumsum(self._share(weights, shares) if shares else weights)

    def _weights(self, lengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Chance of each clip: its length, tempered by how much its speaker has; 0 if empty."""
        totals: dict[str, float] = {}
        for clip, length in zip(self.clips, lengths, strict=True):
            totals[clip.speaker] = totals.get(clip.speaker, 0.0) + float(length)
        speaker = np.array([totals[clip.speaker] for clip in self.clips])
        weights: npt.NDArray[np.float64] = (
            lengths * np.maximum(speaker, 1.0) ** -self.config.speaker_balance
        )
        return self._balance_sources(weights) if self.config.source_balance else weights

    def _balance_sources(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same chances inside each source, tempered by how much the source has in all."""
        totals: dict[str, float] = {}
        for clip, weight in zip(self.clips, weights, strict=True):
            totals[clip.source] = totals.get(clip.source, 0.0) + float(weight)
        source = np.array([totals[clip.source] or 1.0 for clip in self.clips])
        balanced: npt.NDArray[np.float64] = weights * source**-self.config.source_balance
        return balanced

    def _share(
        self, weights: npt.NDArray[np.float64], shares: Mapping[str, float]
    ) -> npt.NDArray[np.float64]:
        """The same chances inside each source, and those that were asked for between them."""
        sources = np.array([clip.source for clip in self.clips])
        scaled = np.zeros_like(weights)
        for name, share in shares.items():
            of_source = sources == name
            scaled[of_source] = share * weights[of_source] / max(weights[of_source].sum(), 1e-12)
        return scaled

    def __getitem__(self, index: int) -> Crop:
        """Crop `index`; short clips are joined."""
        random = np.random.default_rng((self.seed, index))
        pieces: list[npt.NDArray[np.float32]] = []
        places: list[Place] = []
        missing, bandwidth = self.num_samples, self.cache.sample_rate / 2
        while missing > 0:
            clip, start, piece = self._draw(random, missing)
            bandwidth = min(bandwidth, clip.bandwidth_hz or bandwidth)
            pieces.append(piece)
            places.append(Place(clip.path, start, len(piece)))
            missing -= len(piece)
        audio = np.concatenate(pieces)
        if self.augment is not None:  # with a generator of its own: cut and level stay as they are
            dice = np.random.default_rng((self.seed, index, 1))
            audio, bandwidth = self.augment(audio, bandwidth, dice)
        gain = 10 ** (random.uniform(self.config.min_gain_db, self.config.max_gain_db) / 20)
        peak = float(np.abs(audio).max())
        audio *= np.float32(min(gain, 1 / max(peak, 1e-3)))
        teachers = None if self.listen is None else self.listen(places)
        return Crop(torch.from_numpy(audio)[None], bandwidth, teachers)

    def _draw(
        self, random: np.random.Generator, missing: int
    ) -> tuple[Clip, int, npt.NDArray[np.float32]]:
        """Up to `missing` samples from a random place of a random clip, and where they start."""
        pick = np.searchsorted(self.cumulative, random.uniform(0, self.cumulative[-1]), "right")
        clip = self.clips[min(int(pick), len(self.clips) - 1)]
        samples = self.cache.get(clip.path)
        start = int(random.integers(0, max(len(samples) - missing, 0) + 1))
        piece = samples[start : start + missing].astype(np.float32) / np.float32(32768)
        return clip, start, piece


class BlockSampler(Sampler[list[int]]):
    """The part of the endless list that is still to come for this process, batch by batch.

    The batches of a step are dealt out to the processes in turn, so that two processes see in a
    step what one sees in a step of two batches.
    """

    def __init__(self, config: DataConfig, start_step: int, stop_step: int, per_step: int) -> None:
        self.size = config.batch_size
        first, last = start_step * per_step, stop_step * per_step
        self.blocks = range(
            first * ranks.count() + ranks.index(), last * ranks.count(), ranks.count()
        )

    def __iter__(self) -> Iterator[list[int]]:
        """Indices of one batch after the other."""
        return (list(range(b * self.size, (b + 1) * self.size)) for b in self.blocks)

    def __len__(self) -> int:
        """How many batches are left."""
        return len(self.blocks)


def collate(items: list[Crop]) -> Batch:
    """Stack crops into a batch."""
    teachers = [item.teachers for item in items if item.teachers is not None]
    return Batch(
        torch.stack([item.audio for item in items]),
        torch.tensor([item.bandwidth_hz for item in items]),
        torch.stack(teachers) if teachers else None,
    )


def crop_samples(config: DataConfig, model: CodecConfig) -> int:
    """Samples of a crop: whole frames, at least two."""
    frames = round(config.crop_seconds * model.frame_rate)
    return max(frames, 2) * model.frame_size


def batches(
    dataset: CropDataset, start_step: int, total_steps: int, per_step: int = 1
) -> Generator[list[Batch], None, None]:
    """This process's batches of steps `start_step` to `total_steps`, `per_step` at a time.

    Close it to end its loader processes.
    """
    loader: Iterable[Batch] = DataLoader(
        dataset,
        batch_sampler=BlockSampler(dataset.config, start_step, total_steps, per_step),
        num_workers=dataset.config.workers,
        collate_fn=collate,
        persistent_workers=False,
        worker_init_fn=leave_signals_to_the_parent,
    )
    step: list[Batch] = []
    for batch in loader:
        step.append(batch)
        if len(step) == per_step:
            yield step
            step = []
