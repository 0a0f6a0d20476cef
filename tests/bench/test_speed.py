import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import soundfile
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from sotto.bench.server import measure_server, running_server
from sotto.bench.speed import load_clip, main, measure_speed, print_speed
from sotto.bench.timing import Offline, Spread, StepTimes, Streaming, spread
from sotto.codec.errors import AudioError, BackendError, ModelNotFoundError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "half.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.1 * rng.standard_normal((8000, 2)), 16_000)
    return path


@pytest.fixture(scope="module")
def report(tiny_bundle, clip):
    return measure_speed(tiny_bundle, clip=clip, repeats=2, with_server=False)


def leaves(value):
    if isinstance(value, dict) and set(value) != {"median", "low", "high", "values"}:
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield value


def test_one_run_times_offline_and_both_step_lengths(report):
    assert isinstance(report.offline, Offline)
    assert [stream.step_ms for stream in report.streaming] == [20, 80]
    assert report.clip_s == 0.5
    assert report.threads == 1
    assert report.server is None


def test_every_timing_is_kept_with_its_repeats(report):
    saved = json.loads(report.to_json())
    spreads = list(leaves({name: saved[name] for name in ("offline", "streaming")}))
    assert len(spreads) == 3 + 2 * (3 + 3 * 3)
    for timing in spreads:
        assert len(timing["values"]) == 2
        assert 0 < timing["low"] <= timing["median"] <= timing["high"]
    for name in ("load_s", "cold_start_s"):
        assert len(saved[name]["values"]) == 3


def test_a_saved_run_says_what_it_ran_on(report):
    saved = json.loads(report.to_json())
    assert saved["format"] == 1
    assert saved["machine"]["cpu"]
    assert saved["versions"]["numpy"] == np.__version__
    assert saved["model"]["identity"] == report.model["identity"]
    assert {"offline", "streaming", "cold_start_s", "server"} <= set(saved["definitions"])


def test_quantiles_of_steps_are_in_order(report):
    for stream in report.streaming:
        assert isinstance(stream, Streaming)
        for times in (stream.encode_step, stream.decode_step, stream.both_step):
            assert isinstance(times, StepTimes)
            assert times.p50_ms.median <= times.p95_ms.median <= times.max_ms.median
        assert stream.both.median < min(stream.encode.high, stream.decode.high)


def test_a_spread_sums_up_its_repeats():
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, (3.0, 1.0, 2.0))


def test_the_printed_run_has_its_numbers_and_definitions(report, capsys):
    print_speed(report, Console(width=120))
    text = capsys.readouterr().out
    for word in ("offline", "20 ms", "80 ms", "p95", "load the model", *report.definitions):
        assert word in text


def test_a_clip_becomes_mono_at_the_rate_of_the_model(clip, tmp_path):
    assert load_clip(clip, 24_000).shape == (12_000,)
    assert load_clip(None, 24_000).dtype == np.float32
    with pytest.raises(AudioError):
        load_clip(tmp_path / "missing.wav", 24_000)


def test_an_unknown_model_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ModelNotFoundError):
        measure_speed(tmp_path / "missing")
    app = Typer()
    app.command()(main)
    result = CliRunner().invoke(app, ["--model", str(tmp_path / "missing")])
    assert result.exit_code == 1
    assert "error" in result.output


@pytest.mark.slow
def test_a_server_process_is_streamed_through_and_weighed(tiny_bundle):
    audio = (0.1 * np.random.default_rng(0).standard_normal(24_000)).astype(np.float32)
    use = measure_server(tiny_bundle, 24_000, audio)
    assert use.sessions > 1
    assert use.times_real_time > 0
    if not math.isnan(use.peak_mb):
        assert 10 < use.start_mb <= use.peak_mb
    assert set(asdict(use)) == {
        "sessions",
        "chunk_ms",
        "start_mb",
        "peak_mb",
        "times_real_time",
    }


def test_a_server_that_cannot_start_is_an_error_with_its_log(tmp_path):
    with pytest.raises(BackendError, match="did not start"), running_server(tmp_path / "missing"):
        pass
