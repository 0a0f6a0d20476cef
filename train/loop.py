"""One run of training: stages, steps, checkpoints; resumes where it stopped."""

import logging
import math

import torch
from torch import Tensor

from sotto.codec.errors import CodecError
from sotto.codec.model import CodecModel

from .adversary import Adversary
from .cache import AudioCache
from .checkpoint import (
    below,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
)
from .config import RunConfig, StageConfig
from .data import Batch, CropDataset, batches, crop_samples
from .ema import MovingAverage
from .losses import ReconstructionLoss
from .manifest import Clip, find_clips
from .record import Recorder, describe_run
from .validation import Validator

log = logging.getLogger(__name__)


class Trainer:
    """Everything one run holds; `run` trains to the end of the last stage."""

    def __init__(self, config: RunConfig) -> None:
        """Build model, data, losses and optimizer, and restore the run's checkpoint if any.

        Raises:
            CodecError: The configuration, the data or the checkpoint cannot be used.
        """
        self.config = config
        self.device = _device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.model = CodecModel(config.model).to(self.device)
            adversarial = any(stage.adversarial for stage in config.stages.values())
            self.adversary = Adversary(config, self.device) if adversarial else None
        self.average = MovingAverage(self.model.decoder, config.ema_decay)
        self.losses = ReconstructionLoss(config.loss, config.model.sample_rate).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=(0.8, 0.99), weight_decay=1e-2
        )
        self.step = 0
        self._restore()
        clips = [c for c in find_clips(config.data) if _wanted(c, config.dataset.sources)]
        self.cache = AudioCache(config.dataset.cache, config.model.sample_rate)
        self.dataset = CropDataset(
            [clip for clip in clips if clip.split == "train"],
            self.cache,
            config.dataset,
            crop_samples(config.dataset, config.model),
            config.seed,
        )
        self.validator = Validator(config, clips, self.cache, self.losses, self.device)

    def run(self) -> None:
        """Train from the current step to the end; saves on the way, at the end and on Ctrl-C."""
        total = self.config.total_steps
        with Recorder(self.config.output, self.step, total) as recorder:
            describe_run(self.config, self.dataset)
            try:
                for batch in batches(self.dataset, self.step, total):
                    name, stage, at = self.config.stage_at(self.step)
                    if stage.quantize and at == 0 and "quantizer" not in stage.freeze:
                        self.start_codebooks()
                    metrics = self.train_step(batch.to(self.device), stage, at)
                    self.step += 1
                    recorder.step(self.step, name, metrics, every=self.config.log_every)
                    self._look(recorder, stage)
            except KeyboardInterrupt:
                log.warning("stopped by the keyboard at step %d; run again to go on", self.step)
            finally:
                self.save()

    def _look(self, recorder: Recorder, stage: StageConfig) -> None:
        """Checkpoint and validate when it is time."""
        done = self.step == self.config.total_steps
        if self.step % self.config.checkpoint_every == 0:
            self.save()
        if self.step % self.config.validate_every == 0 or done:
            report = self.validator.run(self.model, self.average.module, quantize=stage.quantize)
            recorder.validation(self.step, report)

    def train_step(self, batch: Batch, stage: StageConfig, at: int) -> dict[str, Tensor]:
        """One update of the generator, and of the discriminators in an adversarial stage.

        Args:
            batch: Crops on the training device.
            stage: The stage that this step belongs to.
            at: Step inside the stage.

        Returns:
            Detached scalars by name.
        """
        self._prepare(stage, at)
        random = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        depth, noise = self._draw(batch, stage, at, random)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"
        ):
            out = self.model(batch.audio, depth, noise)
        delay = self.model.delay_samples
        decoded = out.audio[..., delay:].float()
        target = batch.audio[..., : batch.audio.shape[-1] - delay]
        distance = self.losses(decoded[:, 0], target[:, 0], batch.bandwidth_hz)
        weight = self.config.loss
        metrics = {"mel": distance.mel, "stft": distance.stft, "waveform": distance.waveform}
        loss = (
            weight.mel * distance.mel
            + weight.stft * distance.stft
            + weight.waveform * distance.waveform
        )
        if stage.quantize:
            metrics.update(commitment=out.commitment, codebook=out.codebook)
            loss = loss + weight.commitment * out.commitment + weight.codebook * out.codebook
        if stage.adversarial and self.adversary is not None:
            metrics.update(self.adversary.train_step(decoded.detach(), target))
            fooling, matching = self.adversary.losses(decoded, target)
            metrics.update(adversarial=fooling, feature_matching=matching)
            loss = loss + weight.adversarial * fooling + weight.feature_matching * matching
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        if torch.isfinite(norm):  # a step that would poison the weights is left out, and logged
            self.optimizer.step()
            self.average.update(self.model.decoder, self.step)
        metrics.update(loss=loss, gradient_norm=norm)
        learning = stage.quantize and "quantizer" not in stage.freeze
        if learning and (self.step + 1) % self.config.restart_every == 0:
            moved = self.model.quantizer.restart_unused(random)
            metrics["restarted"] = torch.tensor(float(moved))
        return {name: value.detach() for name, value in metrics.items()}

    @torch.no_grad()
    def start_codebooks(self) -> None:
        """K-means start of all books on latents of fresh crops."""
        log.info("k-means start of %d codebooks", self.config.model.num_codebooks)
        self.model.eval()
        random = torch.Generator().manual_seed(self.config.seed)
        found: list[Tensor] = []
        count, item = 0, self.config.total_steps * self.config.dataset.batch_size
        while count < self.config.start_latents:  # items past the last step: unseen in training
            audio = torch.stack([self.dataset[item + i][0] for i in range(16)]).to(self.device)
            latents, _ = self.model.encoder(audio[:, 0], self.model.encoder.init_state(16))
            found.append(latents.flatten(0, 1))
            count, item = count + len(found[-1]), item + 16
        self.model.quantizer.start(torch.cat(found), random)

    def _prepare(self, stage: StageConfig, at: int) -> None:
        """Modes, frozen parts and learning rates of this step."""
        self.model.train()
        for part in ("encoder", "quantizer"):
            module = self.model.get_submodule(part)
            frozen = part in stage.freeze
            module.requires_grad_(not frozen)
            module.train(not frozen)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(
                at, stage, stage.learning_rate, stage.final_learning_rate
            )
        if stage.adversarial and self.adversary is not None:
            ratio = learning_rate(at, stage, 1.0, stage.final_learning_rate / stage.learning_rate)
            self.adversary.set_learning_rate(stage.discriminator_learning_rate * ratio)

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

    def save(self) -> None:
        """Write the latest checkpoint: weights, average, optimizers, step."""
        tensors = with_prefix("model", self.model.state_dict())
        tensors |= with_prefix("average", self.average.module.state_dict())
        tensors |= with_prefix("optimizer", optimizer_tensors(self.optimizer))
        if self.adversary is not None:
            tensors |= with_prefix("adversary", self.adversary.tensors())
        save_checkpoint(self.config.output, tensors, {"step": self.step})

    def _restore(self) -> None:
        found = load_checkpoint(self.config.output)
        if found is None:
            return
        tensors, meta = found
        try:
            self.model.load_state_dict(below("model", tensors))
            self.average.module.load_state_dict(below("average", tensors))
            restore_optimizer(self.optimizer, below("optimizer", tensors))
            if self.adversary is not None and below("adversary", tensors):
                self.adversary.restore(below("adversary", tensors))
        except (RuntimeError, ValueError) as error:
            raise CodecError(
                f"the checkpoint in '{self.config.output}' does not fit this configuration; choose "
                f"another output=FOLDER, or the configuration it was made with ({error})"
            ) from error
        self.step = int(meta["step"])
        log.info("resumed '%s' at step %d", self.config.output, self.step)


def learning_rate(at: int, stage: StageConfig, peak: float, final: float) -> float:
    """Linear warm-up to `peak`, then a cosine down to `final` at the end of the stage."""
    if at < stage.warmup_steps:
        return peak * (at + 1) / stage.warmup_steps
    progress = (at - stage.warmup_steps) / max(stage.steps - stage.warmup_steps, 1)
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _wanted(clip: Clip, sources: tuple[str, ...]) -> bool:
    return not sources or clip.source in sources


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise CodecError("device=cuda, but torch sees no CUDA device; use device=cpu")
    return torch.device(name)

