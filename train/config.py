"""Configuration of a training run: frozen dataclasses, read from YAML and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, CodecConfig, ComponentConfig, Positive, build
from sotto.codec.errors import ConfigError

NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Windows = Annotated[tuple[Annotated[int, Field(ge=16)], ...], Field(min_length=1)]
Frozen = Literal["encoder", "quantizer"]
LossName = Literal[
    "mel",
    "loudness",
    "stft",
    "waveform",
    "commitment",
    "codebook",
    "adversarial",
    "feature_matching",
]


@dataclass(frozen=True, config=FROZEN)
class DataConfig:
    """What to train on and how to cut it.

    Attributes:
        cache: Folder for decoded, resampled audio; made on first use.
        crop_seconds: Length of a training crop, rounded to whole frames.
        batch_size: Crops per step.
        workers: Loader processes; 0 loads in the training process.
        sources: Only clips of these sources of the manifest; all if empty.
        speaker_balance: 0 draws clips by duration, 1 draws every speaker equally often.
        min_gain_db: Lower end of the random level change.
        max_gain_db: Upper end; a crop is never pushed over full scale.
    """

    cache: Path = Path(".cache/audio")
    crop_seconds: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Positive = 16
    workers: Annotated[int, Field(ge=0)] = 1
    sources: tuple[str, ...] = ()
    speaker_balance: Share = 0.5
    min_gain_db: float = -12.0
    max_gain_db: float = 3.0

    def __post_init__(self) -> None:
        """The level must have a range."""
        if self.min_gain_db > self.max_gain_db:
            raise ValueError(
                f"min_gain_db={self.min_gain_db:g} is above max_gain_db={self.max_gain_db:g}"
            )


@dataclass(frozen=True, config=FROZEN)
class LossConfig:
    """Weights of the losses and the resolutions they look at.

    Attributes:
        mel: Log-mel distance.
        loudness: Distance of mel magnitudes raised to 0.3.
        stft: Distance of power-law compressed complex spectra.
        waveform: Mean absolute error of samples.
        commitment: Latents towards their codebook vectors.
        codebook: Codebook vectors towards their latents (gradient learning only).
        adversarial: Fooling the discriminators.
        feature_matching: Equal activations inside the discriminators.
        mel_windows: Window lengths of the log-mel distance; hop is a quarter.
        mel_bands: Mel bands at each window.
        stft_windows: Window lengths of the complex distance.
        stft_corner_hz: Frequency above which bins count less and less in it; 0 weighs all alike.
        windows_per_step: How many of each list, drawn anew, a step looks at; 0 means all. Spectra
            are a third of a step's cost on a CPU, and on average nothing is lost.
    """

    mel: NonNegative = 2.0
    loudness: NonNegative = 0.0
    stft: NonNegative = 20.0
    waveform: NonNegative = 60.0
    commitment: NonNegative = 1.0
    codebook: NonNegative = 1.0
    adversarial: NonNegative = 1.0
    feature_matching: NonNegative = 2.0
    mel_windows: Windows = (2048, 1024, 512, 256, 128)
    mel_bands: tuple[Positive, ...] = (160, 80, 40, 20, 10)
    stft_windows: Windows = (1024, 512, 256)
    stft_corner_hz: NonNegative = 0.0
    windows_per_step: Annotated[int, Field(ge=0)] = 0

    def __post_init__(self) -> None:
        """Window and band lists must pair up."""
        if len(self.mel_windows) != len(self.mel_bands):
            raise ValueError("mel_windows and mel_bands differ in length")


@dataclass(frozen=True, config=FROZEN)
class StageConfig:
    """One stretch of training.

    Attributes:
        steps: How many.
        quantize: Whether the quantizer is in the path.
        latent_noise: Without quantizer: standard deviation of the noise added to the latents,
            reached linearly over the stage; it makes room for what quantization will cost.
        full_depth: Share of items that hear all books; the rest hear a random number.
        loss_weights: Weights of losses by name, where this stage differs from the run's.
        freeze: Parts that do not learn, so that tokens stay the same.
        adversarial: Train with the discriminators.
        learning_rate: Peak of the generator's rate.
        final_learning_rate: Where the cosine ends.
        warmup_steps: Linear rise to the peak.
        discriminator_learning_rate: Of the discriminators, on the same schedule.
    """

    steps: Positive
    quantize: bool = True
    latent_noise: NonNegative = 0.0
    full_depth: Share = 0.5
    loss_weights: dict[LossName, NonNegative] = Field(default_factory=dict)
    freeze: tuple[Frozen, ...] = ()
    adversarial: bool = False
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    final_learning_rate: NonNegative = 1e-4
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    discriminator_learning_rate: NonNegative = 2e-4


@dataclass(frozen=True, config=FROZEN)
class RunConfig:
    """A whole run.

    Attributes:
        model: The codec to train.
        stages: What to do, in order, by name.
        data: Folder or manifest of training audio; `valid` rows of a manifest are never trained on.
        output: Run folder; a run that was stopped goes on from its last checkpoint.
        init: Bundle folder with ``model.safetensors``: a new run starts from these weights.
        discriminators: Judges of the adversarial stages.
        dataset: How to cut the data.
        loss: How to weigh what went wrong.
        device: ``auto`` takes CUDA if there is one.
        precision: ``bf16`` runs under autocast; ``fp32`` does not.
        threads: CPU threads of torch; 0 leaves torch's choice.
        compile: Fuse encoder and decoder with torch.compile: a minute to start, then faster steps.
        seed: Decides everything that is random.
        gradient_clip: Largest norm of the generator's gradient.
        ema_decay: Of the moving average of the decoder that is evaluated and exported; in stages
            that freeze encoder and quantizer.
        restart_every: Steps between restarts of unused codebook entries.
        start_latents: Latents that the k-means start sees.
        log_every: Steps between metric lines.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between looks at the validation clips.
        validation_clips: How many of these.
    """

    model: CodecConfig
    stages: dict[str, StageConfig]
    data: Path
    output: Path = Path("runs/speech-24khz")
    init: Path | None = None
    discriminators: tuple[ComponentConfig, ...] = ()
    dataset: DataConfig = Field(default_factory=DataConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Annotated[int, Field(ge=0)] = 0
    compile: bool = False
    seed: Annotated[int, Field(ge=0)] = 0
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    ema_decay: Share = 0.999
    restart_every: Positive = 50
    start_latents: Positive = 20_000
    log_every: Positive = 20
    checkpoint_every: Positive = 500
    validate_every: Positive = 1000
    validation_clips: Positive = 8

    def __post_init__(self) -> None:
        """There must be something to do, and an adversary where one is asked for."""
        if not self.stages:
            raise ValueError("stages is empty")
        if any(stage.adversarial for stage in self.stages.values()) and not self.discriminators:
            raise ValueError("an adversarial stage needs at least one entry in discriminators")

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages.values())

    @property
    def quantizer_step(self) -> int | None:
        """Global step at which the codebooks start by k-means; None if they never do.

        That is where the quantizer first comes into the path, unless the run starts from weights
        that have codebooks.
        """
        if self.init is not None:
            return None
        step = 0
        for stage in self.stages.values():
            if stage.quantize:
                return step
            step += stage.steps
        return None

    def stage_at(self, step: int) -> tuple[str, StageConfig, int]:
        """Name, stage and step inside the stage of global `step`.

        Raises:
            ConfigError: `step` is past the last.
        """
        for name, stage in self.stages.items():
            if step < stage.steps:
                return name, stage, step
            step -= stage.steps
        raise ConfigError(f"there is no such step; the run has {self.total_steps}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and apply ``key=value`` overrides such as ``dataset.batch_size=8``.

    Raises:
        ConfigError: No such file, not YAML, an override without ``=``, an unknown field, a value
            of the wrong type.
    """
    if not path.is_file():
        raise ConfigError(f"no config file '{path}'; train/configs holds the ones that ship")
    try:
        tree = OmegaConf.load(path)
        if not isinstance(tree, DictConfig):
            raise ConfigError(f"{path}: expected a mapping at the top, got a list")
        for override in overrides:
            _apply(tree, override)
        values: Any = OmegaConf.to_container(tree, resolve=True)
    except ConfigError:
        raise
    except (OmegaConfBaseException, yaml.YAMLError, OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if "data" not in values:
        raise ConfigError(f"{path} does not say what to train on; add data=FOLDER")
    return build(RunConfig, {str(key): value for key, value in values.items()}, str(path))


def _apply(tree: DictConfig, override: str) -> None:
    """Set one ``key=value``; the value is read as YAML."""
    key, equals, value = override.partition("=")
    if not key or not equals:
        raise ConfigError(f"override '{override}' is not of the form key=value")
    try:
        parsed = OmegaConf.from_dotlist([f"value={value}"])["value"]
        OmegaConf.update(tree, key, parsed, force_add=True)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"override '{override}' cannot be applied: {error}") from error
