"""`make recipes` and the training part of `make bench`, on tiny models."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch
from typer import Typer
from typer.testing import CliRunner

from sotto.bench import recipes as bench
from sotto.bench import throughput
from sotto.bench.recipes import markdown, measure_recipe, recipe_table, stream_difference
from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel
from sotto.train.config import load_config
from sotto.train.dry_run import count
from sotto.train.optimizer import make_optimizer

TINY = (
    "model.latent_dim=16",
    "model.num_codebooks=2",
    "model.codebook_size=16",
    "model.frame_size=20",
    *(
        f"model.{part}.options.{option}"
        for part in ("encoder", "decoder")
        for option in ("channels=2", "strides=[4, 5]", "dilations=[1]")
    ),
    "discriminators=[{name: period, options: {periods: [5], channels: 2, max_channels: 4}}]",
    "loss.mel_windows=[512]",
    "loss.mel_bands=[20]",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for number in range(21):  # the twentieth is held out
        soundfile.write(folder / f"{number:02}.wav", 0.1 * rng.standard_normal(12_000), 24_000)
    return folder


@pytest.fixture(scope="module")
def report(data):
    (path,) = bench.recipes(("soundstream",))
    return measure_recipe(path, data, overrides=TINY, steps=2, batch_size=1, seconds=0.1)


def test_a_recipe_is_trained_streamed_and_exported(report):
    assert report.name == "soundstream"
    assert report.trial.steps == 2
    assert report.trial.steps_per_s > 0
    assert report.trial.cpu_s_per_step > 0
    assert 0 <= report.trial.data_share < 1
    assert not report.memory_mb <= 0  # nan where the system does not tell
    assert report.latency_ms == pytest.approx(1000 * 20 / 24_000)
    assert (report.lowest_bitrate, report.highest_bitrate) == (1200 * 4, 1200 * 8)
    assert report.encode_macs > 0
    assert report.decode_macs > 0
    assert report.stream_difference < 1e-4
    assert report.equal_codes > 0.99
    assert report.onnx_difference < 1e-4


def test_both_tables_have_a_row_per_recipe_and_a_cell_per_heading(report):
    assert recipe_table([report, report]).row_count == 2
    lines = markdown([report]).splitlines()
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1
    assert "| soundstream | 4.8-9.6 | 0.8 |" in lines[2]


def test_an_unknown_recipe_is_named_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"no recipe 'opus' \(known: dac-24khz, encodec-24khz"):
        bench.recipes(("opus",))


def test_a_stream_that_differs_shows(tiny_model, monkeypatch):
    audio = 0.1 * torch.randn(1, 480 * 6, generator=torch.Generator().manual_seed(0))
    assert stream_difference(tiny_model, audio) < 1e-5
    monkeypatch.setattr(  # forgets its past with every frame
        bench,
        "_encoded",
        lambda model, x: (
            model.encoder(frame, model.encoder.init_state(1))[0].transpose(1, 2)
            for frame in x.split(480, dim=1)
        ),
    )
    assert stream_difference(tiny_model, audio) > 1e-3


@pytest.fixture
def run(report, data, tmp_path, monkeypatch):
    """Calls the command with a measurement that costs nothing; says what it measured."""
    measured = []

    def measure(path, *_args, steps, batch_size, seconds, **_options):
        measured.append(path.stem)
        if path.stem == "mimi":
            raise ConfigError("too large")
        setting = bench.Setting.of(path, steps, batch_size, seconds)
        return dataclasses.replace(report, name=path.stem, setting=setting)

    monkeypatch.setattr(bench, "measure_recipe", measure)
    app = Typer()
    app.command()(bench.main)

    def call(*options):
        measured.clear()
        return CliRunner().invoke(app, [str(data), "--out", str(tmp_path), *options]), measured

    return call


def test_a_failing_recipe_does_not_hide_the_others(run, tmp_path):
    result, _ = run("--recipe", "mimi", "--recipe", "soundstream")
    assert result.exit_code == 1
    assert "mimi: too large" in result.output
    assert [row["name"] for row in json.loads((tmp_path / "recipes.json").read_text())] == [
        "soundstream"
    ]


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(run, tmp_path):
    assert run("--recipe", "soundstream")[0].exit_code == 0
    both = ("--recipe", "snac", "--recipe", "soundstream")
    assert run(*both)[1] == ["snac"]
    assert run(*both)[1] == []
    lines = (tmp_path / "recipes.md").read_text().splitlines()
    assert [line.split()[1] for line in lines[2:]] == ["snac", "soundstream"]
    assert run(*both, "--steps", "3")[1] == ["snac", "soundstream"]  # another measurement
    assert run(*both, "--steps", "3", "--again")[1] == ["snac", "soundstream"]


def test_results_of_something_else_are_named_and_left_alone(run, tmp_path):
    (tmp_path / "recipes.json").write_text('[{"name": "snac"}]')
    result, measured = run("--recipe", "snac")
    assert result.exit_code == 1
    assert "does not hold results of this version" in result.output
    assert measured == []
    assert (tmp_path / "recipes.json").read_text() == '[{"name": "snac"}]'


def test_a_rival_has_as_many_parameters_as_asked_for():
    config = load_config(bench.recipes(("encodec-24khz",))[0], ["data=x", *TINY]).model
    for wanted in (50_000, 200_000):
        found = throughput.at_size(config, wanted)
        channels = found.encoder.options["channels"]
        assert throughput.size(found) <= wanted
        assert throughput.size(throughput.with_channels(config, channels + 1)) > wanted


def test_a_size_is_that_of_the_model_itself():
    config = load_config(bench.recipes(("encodec-24khz",))[0], ["data=x", *TINY]).model
    assert throughput.size(config) == count(CodecModel(config))


def test_overrides_reach_both_rivals(data):
    found = throughput.rivals(data, ["precision=bf16", "compile=true"]).values()
    assert [(config.precision, config.compile) for config in found] == [("bf16", True)] * 2


def test_rivals_differ_in_nothing_but_the_model_and_its_optimizer(data):
    ours, theirs = throughput.rivals(data).values()
    assert dataclasses.replace(theirs, model=ours.model, optimizer=ours.optimizer) == ours
    for config in (ours, theirs):
        model = CodecModel(config.model)
        make_optimizer(config.optimizer, model, model)  # refuses what does not suit the model
    assert theirs.model.encoder.name == "seanet"
    assert theirs.model.num_codebooks == ours.model.num_codebooks
    sizes = [throughput.size(config.model) for config in (ours, theirs)]
    assert 0.85 < sizes[1] / sizes[0] <= 1


def test_training_is_timed_and_saved(data, tmp_path, monkeypatch):
    tiny = load_config(bench.recipes(("soundstream",))[0], [f"data={data}", *TINY])
    monkeypatch.setattr(throughput, "rivals", lambda *_: {"one": tiny})
    app = Typer()
    app.command()(throughput.main)
    options = ["--steps", "2", "--batch-size", "1", "--seconds", "0.1"]
    options += ["--out", str(tmp_path), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(app, [str(data), *options])
    assert result.exit_code == 0, result.output
    saved = json.loads((tmp_path / "training.json").read_text())
    assert saved["runs"]["one"]["audio_per_s"] > 0
    assert 0 <= saved["runs"]["one"]["data_share"] < 1
    assert "audio s per s" in result.output
