"""Configuration of a training run: frozen dataclasses, read from YAML and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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
Frozen = Literal["encoder", "quantizer", "decoder"]
LossName = Literal[
    "mel",
    "envelope",
    "stft",
    "waveform",
    "commitment",
    "codebook",
    "adversarial",
    "feature_matching",
]


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


@dataclass(frozen=True, config=FROZEN)
class LossConfig:
    """Weights of the losses and the resolutions they look at.

    Attributes:
        mel: Log-mel distance.
        envelope: Distance of mel magnitudes relative to each band's own level.
        stft: Distance of power-law compressed complex spectra.
        waveform: Mean absolute error of samples.
        commitment: Latents towards their codebook vectors.
        codebook: Codebook vectors towards their latents (gradient learning only).
        adversarial: Fooling the discriminators.
        feature_matching: Equal activations inside the discriminators.
        mel_windows: Window lengths of the log-mel distance; hop is a quarter.
        mel_bands: Mel bands at each window.
        stft_windows: Window lengths of the complex distance.
        windows_per_step: How many of each list, drawn anew, a step looks at; 0 means all. Spectra
            are a third of a step's cost on a CPU, and on average nothing is lost.
        balance: Weights are shares of the gradient at the decoded audio, whatever the size of each
            loss's own gradient (EnCodec's balancer); not for `commitment` and `codebook`.
        balance_decay: Of the moving averages of these gradients' norms.
    """

    mel: NonNegative = 2.0
    envelope: NonNegative = 0.0
    stft: NonNegative = 20.0
    waveform: NonNegative = 60.0
    commitment: NonNegative = 1.0
    codebook: NonNegative = 1.0
    adversarial: NonNegative = 1.0
    feature_matching: NonNegative = 2.0
    mel_windows: Windows = (2048, 1024, 512, 256, 128)
    mel_bands: tuple[Positive, ...] = (160, 80, 40, 20, 10)
    stft_windows: Windows = (1024, 512, 256)
    windows_per_step: Annotated[int, Field(ge=0)] = 0
    balance: bool = False
    balance_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999

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
        final_learning_rate: Where the schedule ends.
        schedule: ``cosine`` or ``exponential`` fall from the peak to the end.
        warmup_steps: Linear rise to the peak.
        discriminator_learning_rate: Of the discriminators, on the same schedule.
        lost_frames: Share of frames of codes that the decoder does not get, as if their packets
            were lost; in bursts of `lost_burst` frames on average.
        lost_burst: Frames.
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
    schedule: Literal["cosine", "exponential"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    discriminator_learning_rate: NonNegative = 2e-4
    lost_frames: Annotated[float, Field(ge=0, lt=1)] = 0.0
    lost_burst: Annotated[float, Field(ge=1)] = 3.0

    def __post_init__(self) -> None:
        """An exponential never reaches zero."""
        if self.schedule == "exponential" and self.final_learning_rate == 0:
            raise ValueError("an exponential schedule needs final_learning_rate above 0")


@dataclass(frozen=True, config=FROZEN)
class GuardConfig:
    """When a run has lost its way, and what then.

    Attributes:
        patience: Bad steps in a row (gradient not finite, or a loss that exploded) after which
            the run goes back to its last checkpoint.
        explosion: A loss this many times its average of the last steps counts as exploded.
        rate_factor: The learning rate is multiplied by this at every return.
        returns: Returns before the run stops instead.
    """

    patience: Positive = 10
    explosion: Annotated[float, Field(gt=1)] = 20.0
    rate_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    returns: Annotated[int, Field(ge=0)] = 3


@dataclass(frozen=True, config=FROZEN)
class KeepConfig:
    """Which checkpoints stay.

    Attributes:
        last: How many; the newest is ``checkpoint``, older ones carry their step.
        best: Also keep ``checkpoint-best``: the best look at the validation clips by `metric`,
            among those of stages with the quantizer in the path.
        metric: Of the validation, averaged over bitrates: ``mel``, ``stft``, ``si_sdr_db``,
            ``pesq``, ``stoi``.
    """

    last: Positive = 1
    best: bool = False
    metric: Literal["mel", "stft", "si_sdr_db", "pesq", "stoi"] = "mel"


@dataclass(frozen=True, config=FROZEN)
class RunConfig:
    """A whole run.

    Attributes:
        model: The codec to train.
        stages: What to do, in order, by name.
        data: Folder or manifest of training audio, root of LibriTTS, or WebDataset shards; `valid`
            rows of a manifest are never trained on.
        mixture: Several of these with weights, instead of `data`.
        output: Run folder; a run that was stopped goes on from its last checkpoint.
        init: Bundle folder with ``model.safetensors``, or folder of another run: a new run starts
            from these weights. It may have more books: the first are taken.
        init_parts: Parts that start from `init`; the others start anew.
        discriminators: Judges of the adversarial stages.
        dataset: How to cut the data.
        loss: How to weigh what went wrong.
        device: ``auto`` takes CUDA if there is one.
        precision: ``bf16`` and ``fp16`` run under autocast, the latter with loss scaling; ``fp32``
            does not.
        compile: Backend of `torch.compile` for encoder and decoder, such as ``inductor``; None
            runs them as they are.
        accumulate: Batches whose gradients are added up for one step. A step sees
            ``batch_size`` x ``accumulate`` x processes crops.
        threads: CPU threads of torch; 0 leaves torch's choice.
        seed: Decides everything that is random.
        gradient_clip: Largest norm of the generator's gradient.
        ema_decay: Of the moving average of the decoder that is evaluated and exported; in stages
            that freeze encoder and quantizer.
        restart_every: Steps between restarts of unused codebook entries.
        start_latents: Latents that the k-means start sees.
        guard: When the run goes back to its last checkpoint.
        keep: Which checkpoints stay.
        log_every: Steps between metric lines.
        checkpoint_every: Steps between checkpoints.
        validate_every: Steps between looks at the validation clips.
        validation_clips: How many of these.
        listen_every: A look at the validation clips whose step this divides, and the last one,
            also gives PESQ and STOI; 0 for none.
        wandb: Project of Weights & Biases that gets all curves too; None for TensorBoard alone.
    """

    model: CodecConfig
    stages: dict[str, StageConfig]
    data: Path | None = None
    mixture: tuple[SourceConfig, ...] = ()
    output: Path = Path("runs/speech-24khz")
    init: Path | None = None
    init_parts: tuple[Frozen, ...] = ("encoder", "quantizer", "decoder")
    discriminators: tuple[ComponentConfig, ...] = ()
    dataset: DataConfig = Field(default_factory=DataConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: str | None = None
    accumulate: Positive = 1
    threads: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    ema_decay: Share = 0.999
    restart_every: Positive = 50
    start_latents: Positive = 20_000
    guard: GuardConfig = Field(default_factory=GuardConfig)
    keep: KeepConfig = Field(default_factory=KeepConfig)
    log_every: Positive = 20
    checkpoint_every: Positive = 500
    validate_every: Positive = 1000
    validation_clips: Positive = 8
    listen_every: Annotated[int, Field(ge=0)] = 5000
    wandb: str | None = None

    def __post_init__(self) -> None:
        """There must be something to do, and an adversary where one is asked for."""
        if not self.stages:
            raise ValueError("stages is empty")
        if (self.data is None) == (not self.mixture):
            raise ValueError("say what to train on: either data or mixture")
        names = [source.name for source in self.mixture]
        if len(set(names)) < len(names) or "" in names:
            raise ValueError(f"every source of a mixture needs a name of its own, not {names}")
        if any(stage.adversarial for stage in self.stages.values()) and not self.discriminators:
            raise ValueError("an adversarial stage needs at least one entry in discriminators")
        for name, stage in self.stages.items():
            if len(set(stage.freeze)) == len(get_args(Frozen)):
                raise ValueError(f"stage '{name}' freezes everything; nothing could learn")

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
        if self.init is not None and "quantizer" in self.init_parts:
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
    if values.get("data") is None and not values.get("mixture"):
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
