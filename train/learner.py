"""Everything that learns in a run, and one training step of it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import get_args

import torch
from torch import Tensor, nn

from sotto.codec import ranks
from sotto.codec.model import CodecModel

from .adversary import Adversary
from .balancer import Balancer
from .band import in_band
from .checkpoint import below, optimizer_tensors, restore_optimizer, with_prefix
from .clock import StepClock
from .config import RunConfig
from .config_losses import LossName
from .config_stages import StageConfig
from .data import Batch
from .distill import make_distiller
from .draws import draw_step, step_generator
from .ema import MovingAverage
from .initial import take_over
from .losses import ReconstructionLoss
from .optimizer import make_optimizer
from .precision import Precision
from .record import mean_metrics
from .schedule import schedule

log = logging.getLogger(__name__)

# Parts of the weighted sum; all else that a step reports is only looked at.
LOSSES = frozenset(get_args(LossName))
OF_CODES = ("commitment", "codebook", "distillation")  # not of the decoded audio


class Learner:
    """Codec, moving average of its decoder, discriminators if any, and their optimizers.

    All that is random in step `n` is decided by the run's seed and `n`.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        """Build everything from the run's seed.

        Raises:
            ConfigError: A part of the model, a discriminator or the optimizer is unknown or does
                not fit.
        """
        self.config = config
        self.device = device
        self.precision = Precision(config.precision, device)
        self.clock = StepClock(device)
        self.rate = 1.0  # falls when the run had to go back
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = CodecModel(config.model).to(device)
            if config.compile:  # in place: names of weights stay
                self.model.encoder.compile(dynamic=False)
                self.model.decoder.compile(dynamic=False)
            adversarial = any(stage.adversarial for stage in config.stages.values())
            self.adversary = Adversary(config, device, self.precision) if adversarial else None
            self.distiller = make_distiller(config, device)
        self.learned = nn.ModuleList(filter(None, (self.model, self.distiller)))
        self.average = MovingAverage(self.model.decoder, config.ema_decay)
        hearing = config.uses("pmsqe", "stoi")
        self.losses = ReconstructionLoss(config.loss, config.model.sample_rate, hearing=hearing).to(
            device
        )
        self.optimizer = make_optimizer(
            config.optimizer, self.model, self.learned, self.precision.products
        )
        self.balancer = Balancer(config.loss.balance_decay) if config.loss.balance else None

    def train_step(self, batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        """Update the codec, and the discriminators in an adversarial stage.

        A step whose gradient is not finite leaves all weights as they are.

        Args:
            batches: Crops on the training device; the gradients of all batches are averaged.
            step: Global step, from 0.

        Returns:
            Detached scalars by name: means over the batches and processes.
        """
        _, stage, at = self.config.stage_at(step)
        self._prepare(stage, at)
        self.optimizer.zero_grad(set_to_none=True)
        draws = [step_generator(self.config.seed, step, number) for number in range(len(batches))]
        found: list[dict[str, Tensor]] = []
        for batch, random in zip(batches, draws, strict=True):
            with self.clock.phase("forward"):
                decoded, target, parts = self._reconstruct(batch, stage, at, random)
            if stage.adversarial and self.adversary is not None:
                with self.clock.phase("discriminator"):
                    band = batch.bandwidth_hz, self.config.model.sample_rate
                    fake, real = in_band(decoded, *band), in_band(target, *band)
                    parts |= self.adversary.observe(fake.detach(), real, len(batches))
                    if batch is batches[-1]:
                        parts |= self.adversary.step()
                with self.clock.phase("forward"):
                    parts |= self.adversary.losses(fake, real)
            with self.clock.phase("backward"):
                parts["loss"] = self._backward(parts, decoded, stage, len(batches))
            found.append(parts)
        with self.clock.phase("optimizer"):
            metrics = mean_metrics(found) | self._update(stage)
            self._restart(stage, step, draws[0], metrics)
        return metrics

    # Other shapes than in training:
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def start_codebooks(self, crops: Iterable[Tensor]) -> None:
        """K-means start of all books, in the first process for all.

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
        ranks.copy_from_first(self.model.quantizer.state_dict().values())

    def start_from(self, model: CodecModel) -> None:
        """Take over the weights of an earlier model, in the parts that the run asks for.

        Raises:
            ConfigError: They do not fit.
        """
        take_over(self.model, model, self.config.init_parts)
        self.average.module.load_state_dict(self.model.decoder.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Weights, average and optimizer states by name."""
        tensors = with_prefix("model", self.model.state_dict())
        tensors |= with_prefix("average", self.average.module.state_dict())
        tensors |= with_prefix("optimizer", optimizer_tensors(self.optimizer))
        if self.adversary is not None:
            tensors |= with_prefix("adversary", self.adversary.tensors())
        if self.distiller is not None:
            tensors |= with_prefix("distiller", self.distiller.state_dict())
        if self.balancer is not None:
            tensors |= with_prefix("balancer", self.balancer.tensors())
        return tensors | with_prefix("scaler", self.precision.tensors())

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
        if self.distiller is not None:
            self.distiller.load_state_dict(below("distiller", tensors))
        if self.balancer is not None:
            self.balancer.restore(below("balancer", tensors), self.device)
        self.precision.restore(below("scaler", tensors))

    def _prepare(self, stage: StageConfig, at: int) -> None:
        """Modes, frozen parts and learning rates of this step."""
        self.model.train()
        for part in ("encoder", "quantizer", "decoder"):
            module = self.model.get_submodule(part)
            frozen = part in stage.freeze
            module.requires_grad_(not frozen)
            module.train(not frozen)
        ratio = self.rate * schedule(at, stage, stage.final_learning_rate / stage.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate * ratio
        if stage.adversarial and self.adversary is not None:
            self.adversary.set_learning_rate(stage.discriminator_learning_rate * ratio)

    def _reconstruct(
        self, batch: Batch, stage: StageConfig, at: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Decoded audio [B, 1, S - delay], its target, and how far they and the codes are off."""
        draw = draw_step(self.config.model, stage, at, batch.audio, random)
        with self.precision.autocast():
            out = self.model(batch.audio, draw.depth, draw.noise, draw.arrived)
        delay = self.model.delay_samples
        decoded = out.audio[..., delay:].float()
        target = batch.audio[..., : batch.audio.shape[-1] - delay]
        distance = self.losses(decoded[:, 0], target[:, 0], batch.bandwidth_hz, random)
        parts = vars(distance).copy()
        if stage.quantize:
            parts |= {"commitment": out.commitment, "codebook": out.codebook}
        listens = out.codes is not None and "encoder" not in stage.freeze
        if self.distiller is not None and batch.teachers is not None and listens:
            parts["distillation"] = self.distiller(
                self.model, out.latents, out.codes, batch.teachers
            )
        return decoded, target, parts

    def _backward(
        self, parts: dict[str, Tensor], decoded: Tensor, stage: StageConfig, count: int
    ) -> Tensor:
        """Add one of `count` batches to the gradients; returns the weighted sum of its losses."""
        weights = asdict(self.config.loss) | stage.loss_weights
        weighted = {name: (weights[name], part) for name, part in parts.items() if name in LOSSES}
        loss = torch.stack([weight * part for weight, part in weighted.values()]).sum()
        if self.balancer is None:
            self.precision.backward([loss / count], [None])
            return loss
        of_codes = [weighted.pop(name) for name in OF_CODES if name in weighted]
        outputs = [decoded]
        gradients = [self.balancer.gradient(weighted, decoded) / count]
        for weight, part in of_codes:
            if part.requires_grad:
                outputs.append(part)
                gradients.append(torch.full_like(part, weight / count))
        self.precision.backward(outputs, gradients)
        return loss

    def _update(self, stage: StageConfig) -> dict[str, Tensor]:
        """Take the step if its gradient is finite, and let the average follow."""
        norm = self.precision.step(self.optimizer, self.learned, self.config.gradient_clip)
        rescaling = self.precision.end_step()
        if norm.isfinite():
            settled = {"encoder", "quantizer"} <= set(stage.freeze)
            self.average.update(self.model.decoder, settled=settled)
        skipped = float(not norm.isfinite() and not rescaling)
        rate = float(self.optimizer.param_groups[0]["lr"])
        return {
            "gradient_norm": norm.detach(),
            "skipped": torch.tensor(skipped),
            "learning_rate": torch.tensor(rate),
        }

    def _restart(
        self, stage: StageConfig, step: int, random: torch.Generator, metrics: dict[str, Tensor]
    ) -> None:
        """Move unused codebook entries when it is time, to inputs of the first process."""
        learning = stage.quantize and "quantizer" not in stage.freeze
        if learning and (step + 1) % self.config.restart_every == 0:
            moved = self.model.quantizer.restart_unused(random)
            ranks.copy_from_first(self.model.quantizer.state_dict().values())
            metrics["restarted"] = torch.tensor(float(moved))
