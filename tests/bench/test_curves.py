"""Curves of a run: what its table says, and what is no run."""

import json

import pytest
from pydantic import TypeAdapter
from typer import Typer
from typer.testing import CliRunner

from sotto.bench import curves as bench
from sotto.bench.curves import read_curves, table
from sotto.bench.recipes import recipes
from sotto.codec.errors import BundleError
from sotto.train.config import RunConfig, load_config


def step(number, stage, seconds, **more):
    losses = {"mel": 1 / number, "stft": 0.1, "loss": 1.0}
    return {"step": number, "stage": stage, "processor_seconds": seconds, **losses, **more}


def look(number, books=(), pesq=1.0):
    if not books:
        return {"step": number, "valid/mel": 0.9, "valid/stft": 0.2, "valid/pesq": pesq}
    found = {"step": number, "valid/entropy_share/book_1": 0.5}
    for k in books:
        scores = {"mel": 0.5, "stft": 0.1, "pesq": pesq + k / 10, "stoi": 0.5 + k / 100}
        found |= {f"valid/{name}/{k}_books": value for name, value in scores.items()}
    return found


@pytest.fixture
def run(tmp_path):
    """Ten steps without quantizer, then twenty with it."""
    config = load_config(recipes(("speech-24khz",))[0], ["data=x"])
    values = TypeAdapter(RunConfig).dump_python(config, mode="json")
    (tmp_path / "run.json").write_text(json.dumps({"config": values}))
    lines = [
        step(10, "autoencoder", 6.0),
        look(10),
        step(20, "quantized", 12.0),
        step(30, "quantized", 12.0, restarted=3.0),
        look(30, (3, 6, 12), pesq=1.5),
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_minutes_add_up_and_bitrates_are_those_of_the_model(run):
    curves = read_curves(run)
    assert curves.minutes == {10: 1.0, 20: 3.0, 30: 5.0}
    assert curves.minutes_at(25) == 3.0
    assert curves.minutes_at(5) == 0.0
    assert curves.books() == [3, 6, 12]
    assert [curves.bitrates[k] for k in curves.books()] == [1500, 3000, 6000]


def test_a_look_is_a_row_with_its_stage_time_and_scores(run):
    heading, _, first, second = table(read_curves(run)).splitlines()
    assert "PESQ, 1.5 kbit/s | PESQ, 3 kbit/s | PESQ, 6 kbit/s | STOI, 1.5 kbit/s" in heading
    assert first == "| 10 | autoencoder | 1.0 | 0.9000 | 0.2000 | - | - | 1.00 | - | - | - |"
    assert second == (
        "| 30 | quantized | 5.0 | 0.5000 | 0.1000 | 1.80 | 2.10 | 2.70 | 0.53 | 0.56 | 0.62 |"
    )


def test_the_command_prints_the_table_and_draws(run, tmp_path):
    app = Typer()
    app.command()(bench.main)
    picture = tmp_path / "picture.png"
    result = CliRunner().invoke(app, [str(run), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    assert "| 30 | quantized |" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_is_no_run_is_named(tmp_path, run):
    with pytest.raises(BundleError, match="not the folder of a training run"):
        read_curves(tmp_path / "nothing")
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(BundleError, match="no step"):
        read_curves(run)
