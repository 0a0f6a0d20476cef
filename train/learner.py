"""Everything that learns in a run, and one training step of it."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict

import torch
from torch import Tensor

from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel

from .adversary import Adversary
from .checkpoint import below, optimizer_tensors, restore_optimizer, with_prefix
from .config import RunConfig, StageConfig
from .data import Batch
from .ema import MovingAverage
from .losses import ReconstructionLoss

log = logging.getLogger(__name__)


class Learner:
    """Codec, moving average of its decoder, discriminators if any, and their optimizers.

    All that is random in step `n` is decided by the run's seed and `n`.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Build everything from the run's seed.

        Raises:
            ConfigError: A part of the model or a discriminator is unknown or does not fit.
        """
        self.config = config
        self.device = device
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = CodecModel(config.model).to(device)
            if config.compile:  # in place: names of weights stay
                self.model.encoder.compile(dynamic=False)
                self.model.decoder.compile(dynamic=False)
            adversarial = any(stage.adversarial for stage in config.stages.values())
            self.adversary = Adversary(config, device) if adversarial else None
        self.average = MovingAverage(self.model.decoder, config.ema_decay)
        self.losses = ReconstructionLoss(config.loss, config.model.sample_rate).to(device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=(0.8, 0.99), weight_decay=1e-2
        )

    def train_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Update the codec, and the discriminators in an adversarial stage.

        A step whose gradient is not finite leaves all weights as they are.

        Args:
            batch: Crops on the training device.
            step: Global step, from 0.

        Returns:
            Detached scalars by name.
        """
        _, stage, at = self.config.stage_at(step)
        self._prepare(stage, at)
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        loss, metrics = self._loss(batch, stage, at, random)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        if norm.isfinite():
            self.optimizer.step()
            settled = {"encoder", "quantizer"} <= set(stage.freeze)
            self.average.update(self.model.decoder, settled=settled)
        metrics.update(loss=loss, gradient_norm=norm)
        learning = stage.quantize and "quantizer" not in stage.freeze
        if learning and (step + 1) % self.config.restart_every == 0:
            moved = self.model.quantizer.restart_unused(random)
            metrics["restarted"] = torch.tensor(float(moved))
        return {name: value.detach() for name, value in metrics.items()}

    # Other shapes than in training:
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def start_codebooks(self, crops: Iterable[Tensor]) -> None:
        """K-means start of all books.

        Args:
            crops: Batches of audio [B, 1, S]; as many are taken as `start_latents` needs.
        """
        log.info("k-means start of %d codebooks", self.config.model.num_codebooks)
        self.model.eval()
        found: list[Tensor] = []
        count = 0
        for audio in crops:
            state = self.model.encoder.init_state(len(audio))
            latents, _ = self.model.encoder(audio[:, 0].to(self.device), state)
            found.append(latents.flatten(0, 1))
            count += len(found[-1])
            if count >= self.config.start_latents:
                break
        random = torch.Generator().manual_seed(self.config.seed)
        self.model.quantizer.start(torch.cat(found), random)

    def start_from(self, model: CodecModel) -> None:
        """Take over the weights of a model of the same configuration.

        Raises:
            ConfigError: It has another configuration.
        """
        if model.config != self.config.model:
            raise ConfigError(
                f"init='{self.config.init}' holds another model than the configuration: "
                f"{model.config} is not {self.config.model}"
            )
        self.model.load_state_dict(model.state_dict())
        self.average.module.load_state_dict(model.decoder.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Weights, average and optimizer states by name."""
        tensors = with_prefix("model", self.model.state_dict())
        tensors |= with_prefix("average", self.average.module.state_dict())
        tensors |= with_prefix("optimizer", optimizer_tensors(self.optimizer))
        if self.adversary is not None:
            tensors |= with_prefix("adversary", self.adversary.tensors())
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`.

        Raises:
            RuntimeError, ValueError, KeyError: They are of another configuration.
        """
        self.model.load_state_dict(below("model", tensors))
        self.average.module.load_state_dict(below("average", tensors))
        restore_optimizer(self.optimizer, below("optimizer", tensors))
        if self.adversary is not None and below("adversary", tensors):
            self.adversary.restore(below("adversary", tensors))

    def _prepare(self, stage: StageConfig, at: int) -> None:
        """Modes, frozen parts and learning rates of this step."""
        self.model.train()
        for part in ("encoder", "quantizer"):
            module = self.model.get_submodule(part)
            frozen = part in stage.freeze
            module.requires_grad_(not frozen)
            module.train(not frozen)
        ratio = schedule(at, stage, stage.final_learning_rate / stage.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate * ratio
        if stage.adversarial and self.adversary is not None:
            self.adversary.set_learning_rate(stage.discriminator_learning_rate * ratio)

    def _loss(
        self, batch: Batch, stage: StageConfig, at: int, random: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted sum of what the stage asks for, and its parts."""
        depth, noise = self._draw(batch, stage, at, random)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"
        ):
            out = self.model(batch.audio, depth, noise)
        delay = self.model.delay_samples
        decoded = out.audio[..., delay:].float()
        target = batch.audio[..., : batch.audio.shape[-1] - delay]
        distance = self.losses(decoded[:, 0], target[:, 0], batch.bandwidth_hz, random)
        parts = vars(distance).copy()
        if stage.quantize:
            parts |= {"commitment": out.commitment, "codebook": out.codebook}
        metrics = {}
        if stage.adversarial and self.adversary is not None:
            metrics = self.adversary.train_step(decoded.detach(), target)
            fooling, matching = self.adversary.losses(decoded, target)
            parts |= {"adversarial": fooling, "feature_matching": matching}
        weights = asdict(self.config.loss) | stage.loss_weights
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return loss, metrics | parts

    def _draw(
        self, batch: Batch, stage: StageConfig, at: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Books heard per item [B], and the noise that stands in for the quantizer, if any."""
        B, K = batch.audio.shape[0], self.config.model.num_codebooks
        if not stage.quantize:
            T = batch.audio.shape[-1] // self.config.model.frame_size
            noise = torch.randn(B, T, self.config.model.latent_dim, generator=random)
            ramp = stage.latent_noise * min(1.0, 2 * at / stage.steps)
            return torch.full((B,), K, device=self.device), (ramp * noise).to(self.device)
        some = torch.randint(1, K + 1, (B,), generator=random)
        full = torch.rand(B, generator=random) < stage.full_depth
        return torch.where(full, K, some).to(self.device), None


def schedule(at: int, stage: StageConfig, final: float) -> float:
    """Share of the peak learning rate: linear warm-up to 1, then a cosine to `final`."""
    if at < stage.warmup_steps:
        return (at + 1) / stage.warmup_steps
    progress = (at - stage.warmup_steps) / max(stage.steps - stage.warmup_steps, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
