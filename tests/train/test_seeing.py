"""What a run shows: times, rates, scores of hearing, boards, and a dry run before it."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from sotto.codec.errors import BackendError
from sotto.train import listening
from sotto.train.boards import open_boards
from sotto.train.clock import StepClock
from sotto.train.dry_run import bitrates, cost, dry_run
from sotto.train.loop import Trainer
from sotto.train.validation import _mean


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_tells_rates_norms_and_where_its_time_goes(make_run):
    trainer = Trainer(make_run())
    trainer.run()
    steps = [line for line in lines(trainer.config.output) if "stage" in line]
    first, last = steps[0], steps[-1]
    assert first["learning_rate"] == pytest.approx(1e-3 / 100, abs=1e-6)
    phases = {"data", "forward", "backward", "optimizer"}
    assert {name.split("/")[1] for name in first if name.startswith("seconds/")} == phases
    assert last["seconds/discriminator"] > 0
    assert last["discriminator_gradient_norm"] > 0


def test_the_clock_adds_up_phases_and_starts_anew():
    clock = StepClock(torch.device("cpu"))
    for name in ("a", "b", "a"):
        with clock.phase(name):
            pass
    assert clock.read().keys() == {"a", "b"}
    assert clock.read() == {}


def test_pesq_and_stoi_come_at_three_bitrates_when_it_is_time(make_run, monkeypatch):
    asked = []

    def score(reference, decoded, rate):
        asked.append((reference.shape == decoded.shape, rate))
        return 2.0

    monkeypatch.setattr("sotto.train.validation.listeners", lambda: {"pesq": score})
    trainer = Trainer(make_run(validate_every=3, listen_every=100))
    trainer.run()
    looks = {line["step"]: line for line in lines(trainer.config.output) if "stage" not in line}
    assert not any("pesq" in name for name in looks[3])
    assert {n for n in looks[6] if "pesq" in n} == {f"valid/pesq/{k}_books" for k in (4, 2, 1)}
    assert asked == [(True, 24_000)] * 3


def test_without_the_packages_a_line_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.delitem(sys.modules, "sotto.bench.perceptual", raising=False)
    listening.listeners.cache_clear()
    assert listening.listeners() == {}
    assert "pesq is not installed; sotto-codec[eval] has it" in caplog.text
    listening.listeners.cache_clear()


def test_scores_that_are_no_numbers_are_left_out_of_a_mean():
    assert _mean([1.0, math.nan, 3.0]) == 2.0
    assert math.isnan(_mean([math.nan]))


class FakeRun:
    def __init__(self):
        self.logged, self.finished = [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


def test_weights_and_biases_gets_all_and_the_same_run_again(tmp_path, monkeypatch):
    runs, asked = [], []

    def init(**options):
        asked.append(options)
        runs.append(FakeRun())
        return runs[-1]

    fake = SimpleNamespace(init=init, Audio=lambda a, sample_rate: (a.size, sample_rate), Image=id)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for _ in range(2):
        boards = open_boards(tmp_path, 0, "codecs", {"seed": 1})
        for board in boards:
            board.scalars({"loss": 1.0}, 3)
            board.audio("clip", np.zeros(240, np.float32), 3, 24_000)
            board.picture("clip", np.zeros((4, 4, 3), np.uint8), 3)
            board.close()
    assert asked[0] == asked[1]
    assert (asked[0]["project"], asked[0]["config"]) == ("codecs", {"seed": 1})
    assert runs[0].logged[:2] == [(3, {"loss": 1.0}), (3, {"clip": (240, 24_000)})]
    assert runs[0].finished


def test_weights_and_biases_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(BackendError, match=r"wandb=codecs needs .*install sotto-codec\[wandb\]"):
        open_boards(tmp_path, 0, "codecs", {})


def test_a_dry_run_describes_the_model_and_takes_two_steps(make_run):
    config = make_run()
    console = Console(record=True, width=200)
    dry_run(config, console)
    text = console.export_text()
    assert "million multiply-accumulates per second of audio" in text
    assert "latency: 40.0 ms" in text
    assert "1 books 200, 2 books 400, 3 books 600, 4 books 800" in text
    assert "step of stage autoencoder" in text
    assert "step of stage adversarial" in text
    assert not config.output.exists()


def test_work_is_counted_in_multiply_accumulates(tiny_model):
    """The embedding aside, a linear layer on T frames costs T times its weights."""
    found = cost(tiny_model)
    inner = sum(m.weight.numel() for m in tiny_model.decoder.modules() if isinstance(m, nn.Linear))
    assert found.decode_macs >= 50 * inner > 0
    assert found.encode_macs > 0


def test_bitrates_are_spread_over_all_books(make_config):
    assert bitrates(make_config()) == [(1, 200.0), (2, 400.0), (3, 600.0), (4, 800.0)]
