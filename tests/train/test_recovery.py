"""Runs that are killed, lose their way, or find the disk full: nothing that was saved is lost."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from sotto.cli import app
from sotto.codec.errors import BundleError, CodecError
from sotto.train import checkpoint as checkpoints
from sotto.train.checkpoint import BEST, load_checkpoint
from sotto.train.config import RunConfig
from sotto.train.config_recovery import GuardConfig, KeepConfig
from sotto.train.guard import FEWEST, Guard
from sotto.train.learner import Learner
from sotto.train.loop import DivergedError, Trainer
from sotto.train.progress import better, score

TIMES = ("steps_per_second", "processor_seconds", "seconds/")


def curve(run):
    """Every metric of every step but the times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith(TIMES)} for line in lines]


def written(config, folder):
    path = folder / "run.yaml"
    path.write_text(json.dumps(TypeAdapter(RunConfig).dump_python(config, mode="json")))
    return path


def start(config, folder):
    """Run `config` in a process of its own."""
    command = [sys.executable, "-m", "sotto", "train", str(written(config, folder))]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_steps(process, run, steps):
    metrics = run / "metrics.jsonl"
    while process.poll() is None:
        if metrics.is_file() and metrics.read_text().count('"stage"') >= steps:
            return
        time.sleep(0.01)
    pytest.fail(f"ended with {process.returncode}: {process.stderr.read()}")


def test_a_run_that_fails_leaves_no_loader_process(make_run, monkeypatch):
    config = make_run()
    config = dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, workers=1))
    trainer = Trainer(config)

    def fail(*_):
        assert multiprocessing.active_children()
        raise CodecError("no more")

    monkeypatch.setattr(trainer.learner, "train_step", fail)
    with pytest.raises(CodecError, match="no more") as error:
        trainer.run()
    assert error.tb is not None  # it keeps the frames of the run alive
    assert not multiprocessing.active_children()


@pytest.fixture
def long(make_run):
    """A run of many steps that says where it is at each of them."""
    stages = {"autoencoder": {"steps": 3, "quantize": False}, "quantized": {"steps": 5_000}}
    # One thread, as here: with more the last digits of the process of its own would differ.
    return make_run(stages=stages, checkpoint_every=7, validate_every=10_000, threads=1)


@pytest.mark.timeout(600)
def test_killed_at_a_random_step_the_curve_goes_on(long, tmp_path, make_run_in):
    process = start(long, tmp_path)
    wait_for_steps(process, long.output, int(np.random.default_rng().integers(8, 30)))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    again = Trainer(long)
    assert again.step % 7 == 0
    assert again.step > 0
    stop = again.step + 5
    again.learner.train_step = stopping(again, stop)
    again.run()
    whole = Trainer(dataclasses.replace(long, output=tmp_path / "whole"))
    whole.learner.train_step = stopping(whole, stop)
    whole.run()
    assert curve(long.output) == curve(whole.config.output)


def stopping(trainer, stop):
    """The trainer's own step, with SIGTERM during the one that makes it `stop`."""
    train_step = trainer.learner.train_step

    def counted(batches, at):
        if at == stop - 1:
            signal.raise_signal(signal.SIGTERM)
        return train_step(batches, at)

    return counted


def test_sigterm_saves_and_the_command_ends_cleanly(long, tmp_path, monkeypatch, caplog):
    train_step = Learner.train_step

    def interrupted(learner, batches, step):
        if step == 4:
            signal.raise_signal(signal.SIGTERM)
        return train_step(learner, batches, step)

    monkeypatch.setattr(Learner, "train_step", interrupted)
    result = CliRunner().invoke(app, ["train", str(written(long, tmp_path))])
    assert result.exit_code == 0, result.output
    assert "run again to go on" in caplog.text
    assert load_checkpoint(long.output)[1]["step"] == len(curve(long.output)) == 5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sigterm_to_a_process_saves_and_ends_cleanly(long, tmp_path):
    process = start(long, tmp_path)
    wait_for_steps(process, long.output, 5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "run again to go on" in errors
    done = len(curve(long.output))
    assert load_checkpoint(long.output)[1]["step"] == done >= 5


def poison(trainer, first, last=10**9):
    """From step `first` to `last` every clip holds what is not finite."""
    train_step = trainer.learner.train_step

    def poisoned(batches, at):
        if first <= at < last:
            batches = [dataclasses.replace(b, audio=b.audio / 0) for b in batches]
        return train_step(batches, at)

    trainer.learner.train_step = poisoned


@pytest.fixture
def guarded(make_run):
    return make_run(
        guard={"patience": 2, "returns": 1},
        stages={"one": {"steps": 8, "quantize": False}},
        checkpoint_every=3,
    )


def test_a_few_bad_steps_are_left_out(guarded):
    trainer = Trainer(guarded)
    poison(trainer, 4, 5)
    trainer.run()
    assert [line["skipped"] for line in curve(guarded.output)[:8]] == [0, 0, 0, 0, 1, 0, 0, 0]
    assert trainer.progress.returns == 0


def test_many_bad_steps_send_the_run_back_with_a_lower_rate(guarded):
    trainer = Trainer(guarded)
    poison(trainer, 4)
    go_back = trainer._go_back
    rates = []

    def healed():
        go_back()
        rates.append((trainer.step, trainer.learner.rate))
        trainer.learner.train_step = type(trainer.learner).train_step.__get__(trainer.learner)

    trainer._go_back = healed
    trainer.run()
    assert rates == [(3, 0.5)]
    assert trainer.step == 8
    assert Trainer(guarded).learner.rate == 0.5  # as the checkpoint remembers
    assert [line["step"] for line in curve(guarded.output) if "stage" in line] == list(range(1, 9))


def test_a_run_that_cannot_be_saved_from_itself_stops_with_a_report(guarded):
    trainer = Trainer(guarded)
    poison(trainer, 4)
    with pytest.raises(DivergedError, match=r"lost the way at step 6: 2 bad steps in a row, after"):
        trainer.run()
    tensors, meta = load_checkpoint(guarded.output)
    assert meta["step"] == 3
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_loss_that_explodes_is_a_bad_step_but_not_right_after_a_new_stage():
    guard = Guard(GuardConfig(patience=2, explosion=10.0))
    for _ in range(FEWEST):
        guard.watch("one", 1.0, skipped=False)
    guard.watch("one", 9.0, skipped=False)
    assert guard.healthy
    guard.watch("one", 100.0, skipped=False)
    assert not guard.healthy
    guard.watch("one", 100.0, skipped=False)
    assert guard.lost
    guard.watch("two", 100.0, skipped=False)
    assert guard.healthy


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(guarded, monkeypatch):
    trainer = Trainer(guarded)
    save_file = checkpoints.save_file

    def full(tensors, path):
        if trainer.step > 3:
            Path(path).write_bytes(b"half of")
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(BundleError, match=r"No space left on device.*one from before is whole"):
        trainer.run()
    monkeypatch.undo()
    assert not list(guarded.output.glob(".*"))
    again = Trainer(guarded)
    assert again.step == 3
    again.run()
    assert again.step == 8


def test_the_newest_checkpoints_and_the_best_are_kept(make_run):
    stages = {"one": {"steps": 2, "quantize": False}, "two": {"steps": 6}}
    keep = {"last": 3, "best": True}
    config = make_run(stages=stages, keep=keep, checkpoint_every=2, validate_every=4)
    trainer = Trainer(config)
    trainer.run()
    kept = sorted(path.name for path in config.output.glob("checkpoint*"))
    assert kept == ["checkpoint", "checkpoint-000000004", "checkpoint-000000006", BEST]
    looks = {line["step"]: line for line in curve(config.output) if "stage" not in line}
    scores = {
        step: score({k.removeprefix("valid/"): v for k, v in look.items() if "/" in k}, "mel")
        for step, look in looks.items()
    }
    _, meta = load_checkpoint(config.output, BEST)
    assert meta["step"] == min(scores, key=scores.get)
    assert meta["best"] == pytest.approx(min(scores.values()), abs=1e-5)
    assert Trainer(config).progress.best == meta["best"]
    assert KeepConfig().last == 1


def test_scores_compare_by_what_they_measure():
    assert score({"mel/4_books": 1.0, "mel/2_books": 3.0, "melody": 9.0}, "mel") == 2.0
    assert score({}, "mel") is None
    assert better(1.0, 2.0, "mel")
    assert not better(1.0, 2.0, "pesq")
    assert better(1.0, None, "pesq")
    assert not better(None, 1.0, "mel")
