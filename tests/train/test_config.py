"""Run configurations: every YAML builds, overrides apply, mistakes are named."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter

from sotto.codec.config import build
from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel
from sotto.train.config import RunConfig, load_config
from sotto.train.config_data import DataConfig
from sotto.train.config_losses import LossConfig
from sotto.train.config_stages import StageConfig
from sotto.train.data import crop_samples
from sotto.train.discriminators import DISCRIMINATORS
from sotto.train.losses import ReconstructionLoss

CONFIGS = sorted((Path(__file__).parents[2] / "train" / "configs").glob("*.yaml"))
DEFAULT = next(path for path in CONFIGS if path.stem == "speech-24khz")


def load(*overrides):
    return load_config(DEFAULT, ["data=somewhere", *overrides])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_builds_all_its_parts(path):
    config = load_config(path, ["data=somewhere"])
    with torch.device("meta"):  # all shapes, no numbers
        model = CodecModel(config.model)
        for part in config.discriminators:
            DISCRIMINATORS.create(part.name, part.options)
    losses = ReconstructionLoss(config.loss, config.model.sample_rate)
    heard = crop_samples(config.dataset, config.model) - model.delay_samples
    audio = torch.zeros(1, heard)
    assert losses(audio, audio, torch.tensor([12_000.0])).mel == 0
    if path.stem.startswith("speech-"):  # what the design promises
        assert sum(p.numel() for p in model.parameters()) <= 12_000_000
        assert model.delay_samples + config.model.frame_size <= 0.040 * config.model.sample_rate


def test_the_default_at_16_khz_differs_in_its_rate_alone():
    ours, theirs = (
        load_config(path, ["data=x", "output=y"])
        for path in CONFIGS
        if path.stem.startswith("speech-")
    )
    parts = {"model": theirs.model, "discriminators": theirs.discriminators}
    assert dataclasses.replace(ours, **parts) == theirs
    judged = []
    for config in (ours, theirs):
        (judge,) = config.discriminators
        top_hz = judge.options["band"] * config.model.sample_rate / 2
        judged.append({**judge.options, "band": round(top_hz, -1)})
    assert judged[0] == judged[1]
    rate = [config.model.frame_rate for config in (ours, theirs)]
    assert rate == [50, 50]
    phases_hz = [
        config.model.decoder.options["band"] * config.model.sample_rate / 2
        for config in (ours, theirs)
    ]
    assert phases_hz == pytest.approx([1_500, 1_500], rel=1e-3)


def test_json_and_back_is_the_same_run():
    config = load()
    dumped = TypeAdapter(RunConfig).dump_python(config, mode="json")
    assert build(RunConfig, dumped) == config


@pytest.mark.parametrize("cls", [RunConfig, StageConfig, DataConfig, LossConfig])
def test_every_field_is_documented(cls):
    documented = set(re.findall(r"^ +(\w+): ", cls.__doc__, re.MULTILINE))
    assert {field.name for field in dataclasses.fields(cls)} <= documented


def test_overrides_reach_any_depth():
    config = load(
        "stages.quantized.steps=7",
        "dataset.batch_size=3",
        "model.encoder.options.dim=8",
        "loss.mel=0",
        "output=a=b",
        "stages.more.steps=1",
    )
    assert config.stages["quantized"].steps == 7
    assert config.dataset.batch_size == 3
    assert config.model.encoder.options["dim"] == 8
    assert config.loss.mel == 0
    assert config.output == Path("a=b")
    assert config.data == Path("somewhere")
    assert list(config.stages)[-1] == "more"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sede=1", r"unknown field 'sede'; did you mean 'seed'\? \(known: model, stages"),
        ("dataset.batch_sise=1", r"dataset: unknown field 'batch_sise'; did you mean 'batch_size'"),
        ("stages.quantized.stepz=1", r"stages\.quantized: unknown field 'stepz'; did you mean 's"),
        ("discriminators.0.nam=stft", r"discriminators\.0: unknown field 'nam'; did you mean 'nam"),
        ("model.vresion=2", r"model: unknown field 'vresion'; did you mean 'version'"),
        ("seed=many", "seed: Input should be a valid integer"),
        ("seed=-1", "seed"),
        ("stages.quantized.freeze=[ears]", "freeze"),
        ("stages.quantized.freeze=[encoder, quantizer, decoder]", "freezes everything"),
        ("stages.quantized.learning_rate=0", "learning_rate"),
        ("loss.mel_windows=[512]", "mel_windows and mel_bands differ in length"),
        ("loss.stft_windows=[]", "stft_windows"),
        ("dataset.min_gain_db=10", "min_gain_db=10 is above max_gain_db=3"),
        ("precision=fp8", "precision"),
        ("discriminators=[]", "an adversarial stage needs at least one entry in discriminators"),
        ("seed", "override 'seed' is not of the form key=value"),
        ("=3", "override '=3' is not of the form key=value"),
        ("data=[a", r"override 'data=\[a' cannot be applied"),
        ("data=${nowhere}", "override"),
    ],
)
def test_mistakes_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load(override)


@pytest.mark.parametrize("text", ["a: [", "- 1", "3", "a: b: c", "\x00"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    for overrides in ([], ["data=x"]):
        with pytest.raises(ConfigError, match=r"run\.yaml"):
            load_config(path, overrides)


def test_missing_files_and_data_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"no config file .*nothing\.yaml"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="add data=FOLDER"):
        load_config(DEFAULT)


def test_a_run_without_stages_is_refused():
    values = TypeAdapter(RunConfig).dump_python(load(), mode="json") | {"stages": {}}
    with pytest.raises(ConfigError, match="stages is empty"):
        build(RunConfig, values)


def test_steps_are_found_in_their_stages():
    config = load("stages.autoencoder.steps=3", "stages.quantized.steps=2")
    names = [config.stage_at(step)[0] for step in range(6)]
    assert names == ["autoencoder"] * 3 + ["quantized"] * 2 + ["adversarial"]
    assert [config.stage_at(step)[2] for step in range(6)] == [0, 1, 2, 0, 1, 0]
    assert config.quantizer_step == 3
    with pytest.raises(ConfigError, match=str(config.total_steps)):
        config.stage_at(config.total_steps)


def test_a_run_may_never_quantize(make_run):
    config = make_run(stages={"only": {"steps": 1, "quantize": False}})
    assert config.quantizer_step is None


def test_a_decoder_of_its_own_keeps_the_tokens_of_the_default_model():
    small = load_config(DEFAULT.parent / "decoders" / "speech-24khz-small.yaml", ["data=somewhere"])
    ours, theirs = small.model, load().model
    assert dataclasses.replace(ours, decoder=theirs.decoder) == theirs
    assert ours.decoder != theirs.decoder
    assert set(small.init_parts) == {"encoder", "quantizer"}
    assert all({"encoder", "quantizer"} <= set(stage.freeze) for stage in small.stages.values())
