"""A whole run on generated audio: stages, records, frozen tokens, and exact resuming."""

import copy
import dataclasses
import json
import shutil
import signal

import numpy as np
import pytest
import soundfile
import torch

from sotto.codec.errors import CodecError, ConfigError
from sotto.export.onnx import identity
from sotto.train.checkpoint import load_checkpoint
from sotto.train.config_stages import StageConfig
from sotto.train.data import Batch
from sotto.train.loop import Trainer
from sotto.train.record import Recorder
from sotto.train.schedule import schedule


def stop_at(monkeypatch, trainer, step):
    """Send SIGTERM during the step that makes it `step` steps."""
    train_step = trainer.learner.train_step

    def counted(batches, at):
        if at == step - 1:
            signal.raise_signal(signal.SIGTERM)
        return train_step(batches, at)

    monkeypatch.setattr(trainer.learner, "train_step", counted)


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def codes_of(trainer):
    audio = 0.1 * torch.randn(1, 1, 4_800, generator=torch.Generator().manual_seed(0))
    model = trainer.model.eval()
    with torch.no_grad():
        return model.encode(audio, model.encoder.init_state(1))[0]


@pytest.fixture(scope="module")
def finished(make_run_in, tmp_path_factory):
    """A run of all three stages; do not write to it."""
    trainer = Trainer(make_run_in(tmp_path_factory.mktemp("finished"), validate_every=3))
    trainer.run()
    return trainer


@pytest.fixture
def config(finished, tmp_path):
    """The finished run's configuration in a copy of its folder, which may be changed."""
    output = shutil.copytree(finished.config.output, tmp_path / "copy")
    return dataclasses.replace(finished.config, output=output)


def test_a_run_leaves_checkpoint_metrics_pictures_and_its_description(finished):
    run = finished.config.output
    assert finished.step == 6
    tensors, meta = load_checkpoint(run)
    assert meta["step"] == 6
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    found = lines(run)
    steps = [line for line in found if "stage" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert [line["stage"] for line in steps[::2]] == ["autoencoder", "quantized", "adversarial"]
    assert {"mel", "stft", "waveform", "loss", "gradient_norm"} <= steps[0].keys()
    assert "commitment" not in steps[0]
    assert {"commitment", "codebook", "restarted"} <= steps[2].keys()
    assert {"discriminator", "adversarial", "feature_matching"} <= steps[4].keys()
    looks = [line for line in found if "stage" not in line]
    assert [line["step"] for line in looks] == [3, 6]
    assert {f"valid/mel/{books}_books" for books in (4, 2, 1)} <= looks[0].keys()
    assert 0 < looks[0]["valid/entropy_share/book_0"] <= 1
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    described = json.loads((run / "run.json").read_text())
    assert described["config"]["seed"] == 0
    assert described["train_clips"] == 5
    assert described["sources"] == ["tones"]
    assert described["versions"]["torch"]


def test_running_a_finished_run_again_changes_nothing(config):
    before, _ = load_checkpoint(config.output)
    metrics = lines(config.output)
    again = Trainer(config)
    assert again.step == 6
    again.run()
    after, _ = load_checkpoint(config.output)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert lines(config.output) == metrics


@pytest.mark.parametrize("step", [1, 3, 5])
def test_stopping_and_resuming_equals_one_go_to_the_bit(finished, make_run, monkeypatch, step):
    config = make_run()
    first = Trainer(config)
    stop_at(monkeypatch, first, step)
    first.run()
    assert load_checkpoint(config.output)[1]["step"] == step
    second = Trainer(config)
    assert second.step == step
    second.run()
    expected, _ = load_checkpoint(finished.config.output)
    found, _ = load_checkpoint(config.output)
    assert found.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    assert different == []


def test_a_run_that_died_goes_on_from_its_last_checkpoint(make_run, monkeypatch):
    config = make_run(checkpoint_every=2)
    first = Trainer(config)
    stop_at(monkeypatch, first, 3)
    save, saved = first.save, []

    def dying():
        if first.step == 3:
            raise OSError("no machine")
        saved.append(first.step)
        save()

    monkeypatch.setattr(first, "save", dying)
    with pytest.raises(OSError, match="no machine"):
        first.run()
    monkeypatch.undo()
    assert saved == [2]
    assert [line["step"] for line in lines(config.output)] == [1, 2, 3]
    second = Trainer(config)
    assert second.step == 2
    second.run()
    assert [line["step"] for line in lines(config.output) if "stage" in line] == [1, 2, 3, 4, 5, 6]


def test_frozen_encoder_and_codebooks_keep_the_identity(make_run, monkeypatch):
    trainer = Trainer(make_run())
    stop_at(monkeypatch, trainer, 4)
    trainer.run()
    before, codes = identity(trainer.model), codes_of(trainer)
    weights = copy.deepcopy(trainer.model.state_dict())
    again = Trainer(trainer.config)
    again.run()
    assert identity(again.model) == before
    assert torch.equal(codes_of(again), codes)
    after = again.model.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], weights[name])}
    assert moved == {"decoder"}


def test_codebooks_start_once_even_if_two_stages_quantize(make_run, monkeypatch):
    stages = {"one": {"steps": 1, "quantize": False}, "two": {"steps": 2}, "three": {"steps": 2}}
    trainer = Trainer(make_run(stages=stages))
    starts = []
    start = trainer.learner.start_codebooks

    def counted(crops):
        starts.append(trainer.step)
        start(crops)

    monkeypatch.setattr(trainer.learner, "start_codebooks", counted)
    trainer.run()
    assert starts == [1]


def test_a_loss_that_is_not_finite_leaves_all_weights_as_they_are(make_run):
    trainer = Trainer(make_run(restart_every=100))
    for stage_step in (1, 3, 5):
        good = 0.1 * torch.randn(2, 1, 2_400, generator=torch.Generator().manual_seed(1))
        trainer.learner.train_step([Batch(good, torch.full((2,), 12_000.0))], stage_step)
        before = {n: t.clone() for n, t in trainer.learner.tensors().items()}
        audio = good.clone()
        audio[1, 0, 700:] = float("nan")
        metrics = trainer.learner.train_step([Batch(audio, torch.full((2,), 12_000.0))], stage_step)
        assert not metrics["loss"].isfinite()
        after = trainer.learner.tensors()
        assert [name for name in before if not torch.equal(after[name], before[name])] == []


def test_training_lowers_the_loss(make_run):
    stages = {"autoencoder": {"steps": 80, "quantize": False, "learning_rate": 5e-3}}
    trainer = Trainer(make_run(stages=stages, validate_every=1000))
    trainer.run()
    losses = [line["loss"] for line in lines(trainer.config.output) if "stage" in line]
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])


def test_bf16_trains_too(make_run):
    trainer = Trainer(make_run(precision="bf16"))
    trainer.run()
    assert all(line["loss"] is not None for line in lines(trainer.config.output) if "loss" in line)


def test_few_books_and_short_or_no_validation_clips_are_fine(make_run, tmp_path):
    for books, rows in ((1, ""), (2, "empty.wav,valid\n"), (3, "short.wav,valid\n")):
        folder = tmp_path / f"data{books}"
        folder.mkdir()
        for name, size in (("empty.wav", 0), ("short.wav", 30), ("long.wav", 9_000)):
            soundfile.write(folder / name, np.full(size, 0.1), 24_000)
        (folder / "manifest.csv").write_text(f"path,split\nlong.wav,train\n{rows}")
        base = make_run()
        model = dataclasses.replace(base.model, num_codebooks=books)
        config = dataclasses.replace(base, model=model, data=folder, output=tmp_path / f"r{books}")
        Trainer(config).run()
        look = lines(config.output)[-1]
        depths = {name.split("/")[-1] for name in look if name.startswith("valid/mel")}
        expected = {1: set(), 2: {"2_books", "1_books"}, 3: {"3_books", "1_books"}}
        assert depths == expected[books]


def test_clips_that_cannot_be_read_are_counted_and_left_out(make_run, tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", np.full(9_000, 0.1), 24_000)
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,split\na.wav,train\nbad.wav,train\ngone.wav,valid\n")
    trainer = Trainer(make_run(data=str(manifest)))
    assert "2 of 3 clips left out" in caplog.text
    assert "gone.wav" in caplog.text
    assert [clip.path.name for clip in trainer.dataset.clips] == ["a.wav"]
    assert trainer.validator.clips == []
    manifest.write_text("path,split\nbad.wav,train\n")
    with pytest.raises(CodecError, match=r"none of 1 clips can be read.*bad\.wav"):
        Trainer(make_run(data=str(manifest)))


def test_a_checkpoint_of_another_model_is_refused(config):
    model = dataclasses.replace(config.model, latent_dim=8)
    with pytest.raises(CodecError, match="does not fit this configuration; choose another output"):
        Trainer(dataclasses.replace(config, model=model))


def test_a_checkpoint_that_says_its_step_alone_goes_on(finished, make_run, monkeypatch):
    # Earlier runs kept no more than that.
    config = make_run()
    first = Trainer(config)
    stop_at(monkeypatch, first, 3)
    first.run()
    (config.output / "checkpoint" / "meta.json").write_text('{"step": 3}')
    Trainer(config).run()
    expected, found = (load_checkpoint(run)[0] for run in (finished.config.output, config.output))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_checkpoint_without_step_is_refused(config):
    (config.output / "checkpoint" / "meta.json").write_text("{}")
    with pytest.raises(CodecError, match="does not fit"):
        Trainer(config)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "gpu", ""])
def test_a_device_that_is_not_there_is_refused(make_run, device):
    if device.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("CUDA is there")
    with pytest.raises(ConfigError, match="device="):
        Trainer(make_run(device=device))


def test_sources_choose_the_clips(make_run):
    values = make_run()
    chosen = dataclasses.replace(values.dataset, sources=("nothing",))
    with pytest.raises(CodecError, match="no training clips"):
        Trainer(dataclasses.replace(values, dataset=chosen))


def test_training_leaves_the_global_generator_alone_until_it_loads_data(make_run):
    config = make_run()
    before = torch.get_rng_state()
    Trainer(config)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_rate_warms_up_and_ends_low():
    stage = StageConfig(steps=100, warmup_steps=10)
    rates = [schedule(at, stage, 0.1) for at in range(100)]
    assert rates[:10] == pytest.approx([(at + 1) / 10 for at in range(10)])
    assert rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert schedule(3, StageConfig(steps=2, warmup_steps=10), 0.1) == 0.4


def test_metrics_are_means_and_valid_json_even_if_not_finite(make_run):
    trainer = Trainer(make_run())
    with Recorder(trainer.config, trainer.dataset, 0) as recorder:
        for step, loss in enumerate((1.0, 3.0, float("nan"), 1.0), start=1):
            recorder.step(step, "s", {"loss": torch.tensor(loss)}, {"data": 0.5}, every=2)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    text = (trainer.config.output / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line, parse_constant=refuse) for line in text]
    assert [line["loss"] for line in found] == [2.0, None]
    assert [line["seconds/data"] for line in found] == [0.5, 0.5]


def test_lines_of_steps_that_will_be_done_again_are_dropped(make_run):
    trainer = Trainer(make_run())
    path = trainer.config.output / "metrics.jsonl"
    path.parent.mkdir()
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    with Recorder(trainer.config, trainer.dataset, 2):
        pass
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
