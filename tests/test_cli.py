"""The command line does what the functions below it do, and says what went wrong in one line."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sotto.bench.server import running_server
from sotto.cli import main

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a folder of its own; gives what it said, or its error."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object, ok: bool = True) -> str:
        monkeypatch.setattr(sys, "argv", ["sotto", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert (end.value.code in (0, None)) is ok, said.out + said.err
        return said.out if ok else said.err

    return call


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second of stereo noise at 44.1 kHz."""
    path = tmp_path / "clip.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal((44_100, 2))
    soundfile.write(path, noise, 44_100)
    return path


def test_a_clip_encodes_and_decodes_to_its_own_rate_and_length(
    run: Run, clip: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    said = run("encode", clip, "codes.sotto", "--num-codebooks", 2, "--model", tiny_bundle)
    assert "2 books" in said
    described = json.loads(run("info", "codes.sotto"))
    assert described["num_codebooks"] == 2
    assert described["channels"] == 2
    run("decode", "codes.sotto", "back.wav", "--model", tiny_bundle)
    audio, rate = soundfile.read(tmp_path / "back.wav")
    assert audio.shape == (44_100, 2)
    assert rate == 44_100


def test_a_server_gives_the_same_codes_as_the_library(
    run: Run, clip: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    with running_server(tiny_bundle) as server:
        run("client", "encode", clip, "far.sotto", "--address", server.address)
        run("client", "decode", "far.sotto", "far.wav", "--address", server.address)
    run("encode", clip, "near.sotto", "--model", tiny_bundle)
    run("decode", "near.sotto", "near.wav", "--model", tiny_bundle)
    assert (tmp_path / "far.sotto").read_bytes() == (tmp_path / "near.sotto").read_bytes()
    far, near = (soundfile.read(tmp_path / name)[0] for name in ("far.wav", "near.wav"))
    assert far.shape == near.shape
    assert np.abs(far - near).max() < 1e-4


def test_info_of_a_model_lists_its_bitrates(run: Run, tiny_bundle: Path) -> None:
    described = json.loads(run("info", tiny_bundle))
    assert described["bitrates"] == [200.0, 400.0, 600.0, 800.0]
    assert described["latency_ms"] == 40.0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["encode", "missing.wav", "out.sotto"], "missing.wav"),
        (["info", "no-such-model"], "no-such-model"),
        (["eval", ".", "--bitrates", "fast"], "fast"),
        (["eval", ".", "--peers", "mp3"], "known: opus"),
        (["eval", ".", "--bitrates", "400", "--stress", "7"], "bitrate=7"),
        (["eval", ".", "--bitrates", "400", "--json", "/dev/null/a/b"], "cannot make the folder"),
        (["train", "missing.yaml"], "missing.yaml"),
        (["export", "not-a-run", "out"], "not-a-run"),
        (["serve", "--address", "nowhere"], "nowhere"),
        (["serve", "--set", "max_batch"], "expected NAME=VALUE"),
        (["serve", "--set", "max_bach=3"], "max_bach is no setting; is max_batch meant?"),
        (["serve", "--set", "max_batch=few"], "max_batch: "),
    ],
)
def test_what_goes_wrong_is_one_line_without_a_traceback(
    run: Run, tiny_bundle: Path, words: list[str], reason: str
) -> None:
    model = ["--model", str(tiny_bundle)] if words[0] in ("encode", "eval") else []
    said = run(*words, *model, ok=False)
    assert said.startswith("error: ")
    assert reason in said.replace("\n", "")
    assert "Traceback" not in said


def test_a_peer_is_measured_on_the_same_clips(
    run: Run, clip: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    rates = ["--bitrates", "400", "--peers", "opus", "--peer-bitrates", "6000"]
    said = run("eval", clip.parent, *rates, "--jobs", 1, "--json", "a.json", "--model", tiny_bundle)
    assert "Side by side" in said
    ours, theirs = (json.loads((tmp_path / n).read_text()) for n in ("a.json", "a-opus.json"))
    assert ours["clips"][0]["file"] == theirs["clips"][0]["file"]
    assert ours["rates"][0]["measured_bitrate"] < theirs["rates"][0]["measured_bitrate"]


def test_print_config_shows_what_is_in_force_and_starts_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sotto.toml").write_text("max_channels = 3\n")
    more = ["--set", "max_batch=32", "--set", "drain_grace_s=2.5", "--set", "models=a,b"]
    said = run("serve", "--config", "sotto.toml", "--threads", 2, *more, "--print-config")
    assert "threads = 2" in said
    for line in ("max_batch = 32", "drain_grace_s = 2.5", 'models = ["a", "b"]'):
        assert re.search(rf"^{re.escape(line)} +# flag$", said, re.MULTILINE)
    assert "# flag" in said
    assert "max_channels = 3" in said
    assert "# sotto.toml" in said


def test_a_token_is_shown_once_and_its_hash_goes_to_the_file(run: Run, tmp_path: Path) -> None:
    token = run("token", "alice", "--file", "tokens").strip()
    line = (tmp_path / "tokens").read_text()
    assert line.startswith("alice sha256:")
    assert token not in line
    assert run("token", "bob").splitlines()[1].startswith("bob sha256:")
    assert "not a name" in run("token", "two words", ok=False)


def test_serving_others_needs_a_decision(run: Run) -> None:
    said = run("serve", "--address", "0.0.0.0:0", ok=False).replace("\n", " ")
    assert "tls_cert" in said


def test_health_is_an_exit_code(run: Run, tiny_bundle: Path) -> None:
    with running_server(tiny_bundle) as server:
        assert run("client", "health", "--address", server.address) == "SERVING\n"
    said = run("client", "health", "--address", server.address, "--timeout-s", 1, ok=False)
    assert said.startswith("error: ")


def test_one_comparison_of_quantizers_at_a_time(run: Run, tiny_bundle: Path) -> None:
    words = ["bench", "quantizers", ".", "--model", tiny_bundle, "--large", "--end-to-end"]
    assert "ask for one" in run(*words, ok=False)


def test_quantizers_that_do_not_exist_are_not_compared(run: Run, tiny_bundle: Path) -> None:
    said = run("bench", "quantizers", ".", "--model", tiny_bundle, "--only", "vq", ok=False)
    assert "no quantizer 'vq' to compare" in said
