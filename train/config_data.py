"""Configuration of the data of a run: corpora, crops, augmentation."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, Positive, Share


@dataclass(frozen=True, config=FROZEN)
class AugmentConfig:
    """What may happen to a crop; nothing does unless a share is above 0.

    Attributes:
        noise_share: Share of crops with noise.
        noise: Folder or manifest of noise recordings; pink noise if None.
        min_snr_db: Lower end of the ratio of speech to noise.
        max_snr_db: Upper end.
        room_share: Share of crops in a room of decaying reflections.
        min_room_seconds: Shortest time in which these fall by 60 dB.
        max_room_seconds: Longest.
        narrow_share: Share of crops that lose all above some frequency.
        min_narrow_hz: Lowest such frequency.
        max_narrow_hz: Highest.
    """

    noise_share: Share = 0.0
    noise: Path | None = None
    min_snr_db: float = 5.0
    max_snr_db: float = 30.0
    room_share: Share = 0.0
    min_room_seconds: Annotated[float, Field(gt=0)] = 0.1
    max_room_seconds: Annotated[float, Field(gt=0)] = 0.6
    narrow_share: Share = 0.0
    min_narrow_hz: Annotated[float, Field(gt=0)] = 3000.0
    max_narrow_hz: Annotated[float, Field(gt=0)] = 8000.0

    def __post_init__(self) -> None:
        """Every range must have its ends in order."""
        for name in ("snr_db", "room_seconds", "narrow_hz"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name}={low:g} is above max_{name}={high:g}")

    @property
    def active(self) -> bool:
        """Whether anything can happen."""
        return max(self.noise_share, self.room_share, self.narrow_share) > 0


@dataclass(frozen=True, config=FROZEN)
class DataConfig:
    """What to train on and how to cut it.

    Attributes:
        cache: Folder for decoded, resampled audio; made on first use.
        crop_seconds: Length of a training crop, rounded to whole frames.
        batch_size: Crops per batch.
        workers: Loader processes; 0 loads in the training process.
        sources: Only clips of these sources of the manifest; all if empty.
        speaker_balance: 0 draws clips by duration, 1 draws every speaker equally often.
        source_balance: 0 leaves sources their part of these chances, 1 draws every source equally
            often; the weights of a mixture stand above it.
        min_gain_db: Lower end of the random level change.
        max_gain_db: Upper end; a crop is never pushed over full scale.
        augment: What else may happen to a crop.
    """

    cache: Path = Path(".cache/audio")
    crop_seconds: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Positive = 16
    workers: Annotated[int, Field(ge=0)] = 1
    sources: tuple[str, ...] = ()
    speaker_balance: Share = 0.5
    source_balance: Share = 0.0
    min_gain_db: float = -12.0
    max_gain_db: float = 3.0
    augment: AugmentConfig = Field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """The level must have a range."""
        if self.min_gain_db > self.max_gain_db:
            raise ValueError(
                f"min_gain_db={self.min_gain_db:g} is above max_gain_db={self.max_gain_db:g}"
            )


@dataclass(frozen=True, config=FROZEN)
class SourceConfig:
    """One corpus of a mixture.

    Attributes:
        path: Folder, manifest, root of LibriTTS (recognised by its folder ``LibriTTS``), or paths
            or URLs of WebDataset shards such as ``speech-{0000..0099}.tar``.
        name: What it is called in the mixture.
        weight: Its chance against the others, whatever its size.
        subsets: Of LibriTTS, such as ``train-clean-100``; all that are there if empty.
        download: Get missing subsets of LibriTTS.
    """

    path: str
    name: str = ""
    weight: Annotated[float, Field(gt=0)] = 1.0
    subsets: tuple[str, ...] = ()
    download: bool = False
