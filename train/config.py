"""Configuration of a training run: frozen dataclasses, read from YAML and ``key=value`` overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, CodecConfig, ComponentConfig, Positive, Share, build
from sotto.codec.errors import ConfigError

from .config_data import DataConfig, SourceConfig
from .config_distill import DistillConfig
from .config_losses import LossConfig, LossName
from .config_recovery import GuardConfig, KeepConfig
from .config_stages import Frozen, StageConfig
from .optimizer import OptimizerName


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
        distill: Teachers of the first books; None for none.
        dataset: How to cut the data.
        loss: How to weigh what went wrong.
        device: ``auto`` takes CUDA if there is one.
        optimizer: Of the codec. ``adamw``, or ``muon`` for the matrices of encoder and decoder,
            which takes fewer steps; discriminators always have AdamW.
        precision: ``bf16`` and ``fp16`` run under autocast, the latter with loss scaling; ``fp32``
            does not.
        accumulate: Batches whose gradients are added up for one step. A step sees
            ``batch_size`` x ``accumulate`` x processes crops.
        threads: CPU threads of torch; 0 leaves torch's choice.
        compile: Fuse encoder and decoder with torch.compile: a minute to start, then faster steps.
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
    distill: DistillConfig | None = None
    dataset: DataConfig = Field(default_factory=DataConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    device: str = "auto"
    optimizer: OptimizerName = "adamw"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    accumulate: Positive = 1
    threads: Annotated[int, Field(ge=0)] = 0
    compile: bool = False
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

    def uses(self, *names: LossName) -> bool:
        """Whether any of these losses has a weight, in any stage."""
        stages = self.stages.values()
        return any(
            getattr(self.loss, name) or any(stage.loss_weights.get(name) for stage in stages)
            for name in names
        )

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
