"""One run of training: stages, steps, checkpoints; resumes where it stopped."""

import itertools
import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from sotto.codec.errors import CodecError, ConfigError

from .cache import AudioCache
from .checkpoint import load_checkpoint, save_checkpoint
from .config import RunConfig
from .data import CropDataset, batches, crop_samples
from .learner import Learner
from .manifest import Clip, find_clips
from .record import Recorder, describe_run
from .validation import Validator
from .weights import load_weights

log = logging.getLogger(__name__)


class Trainer:
    """One run in its folder; `run` trains to the end of the last stage."""

    def __init__(self, config: RunConfig) -> None:
        """Build model, data, losses and optimizer, and restore the run's checkpoint if any.

        Raises:
            CodecError: The configuration, the data or the checkpoint cannot be used.
        """
        self.config = config
        self.device = _device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.learner = Learner(config, self.device)
        self.model = self.learner.model
        self.step = 0
        self._restore()
        clips = [c for c in find_clips(config.data) if _wanted(c, config.dataset.sources)]
        cache = AudioCache(config.dataset.cache, config.model.sample_rate)
        self.dataset = CropDataset(
            [clip for clip in clips if clip.split == "train"],
            cache,
            config.dataset,
            crop_samples(config.dataset, config.model),
            config.seed,
        )
        self.validator = Validator(config, clips, cache, self.learner.losses, self.device)

    def run(self) -> None:
        """Train from the current step to the end; saves on the way, at the end and on Ctrl-C."""
        total = self.config.total_steps
        with Recorder(self.config.output, self.step, total) as recorder:
            describe_run(self.config, self.dataset)
            try:
                for batch in batches(self.dataset, self.step, total):
                    name, stage, _ = self.config.stage_at(self.step)
                    if self.step == self.config.quantizer_step and "quantizer" not in stage.freeze:
                        self.learner.start_codebooks(self._fresh_crops())
                    metrics = self.learner.train_step(batch.to(self.device), self.step)
                    self.step += 1
                    recorder.step(self.step, name, metrics, every=self.config.log_every)
                    self._look(recorder, quantize=stage.quantize)
            except KeyboardInterrupt:
                log.warning("stopped by the keyboard at step %d; run again to go on", self.step)
            finally:
                self.save()

    def save(self) -> None:
        """Write the latest checkpoint: weights, average, optimizers, step."""
        save_checkpoint(self.config.output, self.learner.tensors(), {"step": self.step})

    def _look(self, recorder: Recorder, *, quantize: bool) -> None:
        """Checkpoint and validate when it is time."""
        done = self.step == self.config.total_steps
        if self.step % self.config.checkpoint_every == 0:
            self.save()
        if self.step % self.config.validate_every == 0 or done:
            average = self.learner.average.module
            recorder.validation(
                self.step, self.validator.run(self.model, average, quantize=quantize)
            )

    def _fresh_crops(self) -> Iterator[Tensor]:
        """Endless batches of 16 crops [16, 1, S] past the last step: unseen in training."""
        first = self.config.total_steps * self.config.dataset.batch_size
        for item in itertools.count(first, 16):
            yield torch.stack([self.dataset[item + i][0] for i in range(16)])

    def _restore(self) -> None:
        found = load_checkpoint(self.config.output)
        if found is None:
            if self.config.init is not None:
                self.learner.start_from(load_weights(self.config.init))
            return
        tensors, meta = found
        try:
            self.learner.restore(tensors)
            self.step = int(meta["step"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CodecError(
                f"the checkpoint in '{self.config.output}' does not fit this configuration; choose "
                f"another output=FOLDER, or the configuration it was made with ({error})"
            ) from error
        log.info("resumed '%s' at step %d", self.config.output, self.step)


def _wanted(clip: Clip, sources: tuple[str, ...]) -> bool:
    return not sources or clip.source in sources


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device='{name}'; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but torch sees no CUDA device; use device=cpu")
    return device
