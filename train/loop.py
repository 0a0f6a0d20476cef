"""One run of training: stages, steps, checkpoints; resumes where it stopped."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import closing, nullcontext

import torch
from torch import Tensor

from sotto.codec import ranks
from sotto.codec.errors import CodecError

from .checkpoint import BEST, LATEST, load_checkpoint, save_checkpoint
from .config import RunConfig
from .corpus import augmenter, gather, listener
from .data import Batch, CropDataset, batches, crop_samples
from .guard import Guard
from .initial import load_initial
from .learner import Learner
from .processes import choose_device
from .progress import Progress, better, score
from .record import Recorder
from .signals import StopSignals
from .validation import Validator

log = logging.getLogger(__name__)


class DivergedError(CodecError):
    """A run lost its way again after every return to its last checkpoint."""


class Trainer:
    """One run in its folder; `run` trains to the end of the last stage.

    Started by `torchrun`, every process has a trainer of its own; all hold the same weights, and
    the first alone writes.
    """

    def __init__(self, config: RunConfig) -> None:
        """Build model, data, losses and optimizer, and restore the run's checkpoint if any.

        Raises:
            CodecError: The configuration, the data or the checkpoint cannot be used.
        """
        self.config = config
        self.device = choose_device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        self.learner = Learner(config, self.device)
        self.model = self.learner.model
        self.guard = Guard(config.guard)
        self.progress = Progress()
        self._restore()
        corpus = gather(config)
        self.dataset = CropDataset(
            corpus.train,
            corpus.cache,
            config.dataset,
            crop_samples(config.dataset, config.model),
            config.seed,
            corpus.weights,
            augmenter(config, corpus.cache),
            listener(config),
        )
        self.validator = Validator(config, corpus, self.learner.losses, self.device)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.progress.step

    def run(self) -> None:
        """Train from the current step to the end; saves on the way, at the end and when stopped.

        SIGTERM and Ctrl-C end the run after the step under way.

        Raises:
            DivergedError: The run lost its way more often than `guard.returns`.
            CodecError: A checkpoint cannot be written.
        """
        with StopSignals() as stop:
            while self._stretch(stop):
                self._go_back()
        if self.progress.saved != self.step and not self.guard.exploded:
            self.save()
        if self.step < self.config.total_steps:
            log.warning("stopped at step %d; run again to go on", self.step)

    def save(self, name: str = LATEST) -> None:
        """Write the latest checkpoint, or another: weights, average, optimizers, progress."""
        if name == LATEST:
            self.progress.saved = self.step
        if ranks.index() == 0:
            keep = self.config.keep.last if name == LATEST else 1
            save_checkpoint(
                self.config.output,
                self.learner.tensors(),
                self.progress.meta(),
                name=name,
                keep=keep,
            )
        ranks.wait()

    def _stretch(self, stop: StopSignals) -> bool:
        """Train until the end or a signal; or until the run has lost its way, which is True."""
        total, per_step = self.config.total_steps, self.config.accumulate
        crops_of = batches(self.dataset, self.step, total, per_step)
        # Closed whatever happens: loader processes that are left over keep the run from ending.
        with self._recorder() as recorder, closing(crops_of) as stream:
            while self.step < total and not ranks.anywhere(stop.asked, self.device):
                with self.learner.clock.phase("data", waits=True):
                    crops = [batch.to(self.device) for batch in next(stream)]
                self._step(crops, recorder)
                if self.guard.lost:
                    return True
        return False

    def _step(self, crops: list[Batch], recorder: Recorder | None) -> None:
        """One step and what follows from it."""
        name, stage, _ = self.config.stage_at(self.step)
        if self.step == self.config.quantizer_step and "quantizer" not in stage.freeze:
            self.learner.start_codebooks(self._fresh_crops())
        metrics = self.learner.train_step(crops, self.step)
        self.progress.step += 1
        self.guard.watch(name, float(metrics["loss"]), skipped=bool(metrics["skipped"]))
        seconds = self.learner.clock.read()
        if recorder is not None:
            recorder.step(self.step, name, metrics, seconds, every=self.config.log_every)
        self._look(recorder, quantize=stage.quantize)

    def _look(self, recorder: Recorder | None, *, quantize: bool) -> None:
        """Validate and checkpoint when it is time."""
        done = self.step == self.config.total_steps
        if self.step % self.config.validate_every == 0 or done:
            self._validate(recorder, quantize=quantize, done=done)
        if self.step % self.config.checkpoint_every == 0 and self.guard.healthy:
            self.save()

    def _validate(self, recorder: Recorder | None, *, quantize: bool, done: bool) -> None:
        """Look at the validation clips in the first process; keep the best checkpoint."""
        found: float | None = None
        if recorder is not None:
            average = self.learner.average.module
            often = self.config.listen_every
            listen = often > 0 and (done or self.step % often == 0)
            report = self.validator.run(self.model, average, quantize=quantize, listen=listen)
            recorder.validation(self.step, report)
            found = score(report.metrics, self.config.keep.metric)
        best = better(found, self.progress.best, self.config.keep.metric)
        if ranks.anywhere(best and quantize and self.config.keep.best, self.device):
            self.progress.best = found
            self.save(BEST)

    def _go_back(self) -> None:
        """To the last checkpoint, with a lower rate."""
        at, returns = self.step, self.progress.returns + 1
        report = f"lost the way at step {at}: {self.guard.bad} bad steps in a row"
        if returns > self.config.guard.returns or not self._restore():
            raise DivergedError(
                f"{report}, after {returns - 1} returns to a checkpoint; the last checkpoint in "
                f"'{self.config.output}' is from before. Look at gradient_norm and loss in "
                "metrics.jsonl; lower the stage's learning_rate, or look for broken audio"
            )
        self.progress.returns = returns
        self.learner.rate = self.progress.rate = self.config.guard.rate_factor**returns
        self.guard = Guard(self.config.guard)
        log.warning("%s; back to step %d, rate x %g", report, self.step, self.learner.rate)

    def _recorder(self) -> "Recorder | nullcontext[None]":
        """Writes metrics in the first process only."""
        if ranks.index():
            return nullcontext()
        return Recorder(self.config, self.dataset, self.step)

    def _fresh_crops(self) -> Iterator[Tensor]:
        """Endless batches of 16 crops [16, 1, S] past the last step: unseen in training."""
        per_step = self.config.dataset.batch_size * self.config.accumulate * ranks.count()
        for item in itertools.count(self.config.total_steps * per_step, 16):
            yield torch.stack([self.dataset[item + i][0] for i in range(16)])

    def _restore(self) -> bool:
        """Take over the run's checkpoint, or else the weights that it starts from."""
        found = load_checkpoint(self.config.output)
        if found is None:
            if self.config.init is not None:
                self.learner.start_from(load_initial(self.config.init))
            return False
        tensors, meta = found
        try:
            self.learner.restore(tensors)
            self.progress = Progress.of(meta)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CodecError(
                f"the checkpoint in '{self.config.output}' does not fit this configuration; choose "
                f"another output=FOLDER, or the configuration it was made with ({error})"
            ) from error
        self.learner.rate = self.progress.rate
        log.info("resumed '%s' at step %d", self.config.output, self.step)
        return True
