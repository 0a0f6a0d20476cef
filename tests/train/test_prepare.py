"""`sotto prepare`: what is measured, what is kept, what is reported."""

import csv

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sotto.cli import app
from sotto.codec.errors import AudioError, ConfigError
from sotto.train.cache import AudioCache
from sotto.train.manifest import find_clips
from sotto.train.measure import measure
from sotto.train.prepare import Limits, counts, prepare, write_manifest


def noise(seconds=1.0, rate=24_000, below=None, seed=0):
    """White noise, or noise without anything above `below` Hz."""
    audio = np.random.default_rng(seed).standard_normal(int(seconds * rate))
    if below is not None:
        spectrum = np.fft.rfft(audio)
        spectrum[np.fft.rfftfreq(len(audio), 1 / rate) > below] = 0
        audio = np.fft.irfft(spectrum, len(audio))
    return (0.1 * audio / audio.std()).astype(np.float32)


@pytest.mark.parametrize(("below", "expected"), [(None, 12_000), (8_000, 8_000), (3_400, 3_400)])
def test_bandwidth_is_where_the_sound_ends(below, expected):
    assert measure(noise(below=below), 24_000).bandwidth_hz == pytest.approx(expected, abs=150)


def test_a_tone_of_full_scale_has_the_loudness_of_the_standard():
    """BS.1770: 997 Hz at 0 dBFS in one channel is -3.01 LUFS."""
    tone = np.sin(2 * np.pi * 997 * np.arange(48_000) / 48_000).astype(np.float32)
    assert measure(tone, 48_000).loudness_lufs == pytest.approx(-3.01, abs=0.1)
    assert measure(tone / 10, 48_000).loudness_lufs == pytest.approx(-23.01, abs=0.1)


def test_clipping_is_flat_tops_at_any_level():
    clean = noise()
    assert measure(clean, 24_000).clipped_share == 0
    for level in (1.0, 0.3):
        cut = level * np.clip(noise(below=2_000), -0.1, 0.1)
        assert measure(cut, 24_000).clipped_share > 0.1


def test_silence_is_counted_by_frames():
    audio = noise()
    audio[:12_000] *= 1e-4
    assert measure(audio, 24_000).silent_share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_next_to_nothing_can_be_measured(samples):
    found = measure(np.zeros(samples, np.float32), 24_000)
    assert found.loudness_lufs is None
    assert found.bandwidth_hz == 0
    assert found.seconds == samples / 24_000


@pytest.fixture
def corpus(tmp_path):
    """Two clips worth keeping and one of every other kind."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    soundfile.write(folder / "a.wav", noise(), 24_000)
    soundfile.write(folder / "b.flac", noise(rate=48_000, below=4_000), 48_000)
    soundfile.write(folder / "clipped.wav", np.clip(noise(below=2_000), -0.1, 0.1), 24_000)
    soundfile.write(folder / "short.wav", noise(0.1), 24_000)
    soundfile.write(folder / "silent.wav", np.zeros(24_000), 24_000)
    (folder / "broken.wav").write_bytes(b"nothing")
    return folder


def test_every_clip_is_kept_or_dropped_for_a_reason(corpus, tmp_path):
    cache = AudioCache(tmp_path / "cache", 24_000)
    prepared = prepare(find_clips(corpus), cache, Limits(), jobs=1)
    found = {item.clip.path.stem: item.dropped for item in prepared}
    assert found == {
        "a": None,
        "b": None,
        "clipped": "clipped",
        "short": "too short",
        "silent": "silent",
        "broken": "unreadable",
    }
    assert len(list(cache.folder.glob("*.npy"))) == 2  # resampled once, and only what is kept
    assert counts(prepared) == "2 kept, 1 unreadable, 1 clipped, 1 too short, 1 silent"


def test_the_manifest_trains_and_carries_what_was_measured(corpus, tmp_path):
    cache = AudioCache(tmp_path / "cache", 24_000)
    write_manifest(prepare(find_clips(corpus), cache, Limits(), jobs=1), tmp_path / "out")
    one, two = find_clips(tmp_path / "out" / "manifest.csv")
    assert (one.path.name, two.path.name) == ("a.wav", "b.flac")
    assert two.bandwidth_hz == pytest.approx(4_000, abs=150)
    with (tmp_path / "out" / "dropped.csv").open(newline="") as file:
        rows = {row["path"].rpartition("/")[2]: row for row in csv.DictReader(file)}
    assert rows["broken.wav"]["reason"] == "unreadable"
    assert "broken.wav" in rows["broken.wav"]["detail"]
    assert rows["short.wav"]["detail"] == "0.1 s; at least 0.3 s wanted"
    assert float(rows["short.wav"]["seconds"]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("option", "value", "changed"),
    [
        ("min-seconds", "0.05", {"short.wav": None}),
        ("max-seconds", "1.5", {"long.wav": "too long", "a.wav": None}),
        ("max-clipped-share", "1", {"clipped.wav": None}),
        ("max-silent-share", "0.2", {"a.wav": "silent"}),
        ("min-bandwidth-hz", "9000", {"b.flac": "narrow"}),
    ],
)
def test_every_limit_is_an_option_of_the_command(corpus, tmp_path, option, value, changed):
    quiet_half = noise() * np.repeat([1, 1e-4], 12_000).astype(np.float32)
    soundfile.write(corpus / "a.wav", quiet_half, 24_000, subtype="FLOAT")
    soundfile.write(corpus / "long.wav", np.tile(noise(), 2), 24_000, subtype="FLOAT")
    out = tmp_path / "out"
    asked = ["prepare", str(corpus), str(out), "--cache", str(tmp_path / "c"), "--jobs", "1"]
    done = CliRunner().invoke(app, [*asked, f"--{option}", value])
    assert done.exit_code == 0, done.output
    with (out / "dropped.csv").open(newline="") as file:
        rows = {row["path"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(file)}
    for name, reason in changed.items():
        assert rows.get(name) == reason


def test_limits_that_no_clip_can_meet_are_an_error():
    with pytest.raises(ConfigError, match="max_seconds=1 is below min_seconds=2"):
        Limits(min_seconds=2, max_seconds=1)


def test_a_corpus_of_nothing_usable_is_an_error(corpus, tmp_path):
    clips = [clip for clip in find_clips(corpus) if clip.path.stem == "broken"]
    prepared = prepare(clips, AudioCache(tmp_path / "cache", 24_000), Limits(), jobs=1)
    with pytest.raises(AudioError, match="none of 1 clips is kept: 1 unreadable"):
        write_manifest(prepared, tmp_path / "out")


def test_the_command_leaves_table_picture_and_manifest(corpus, tmp_path):
    out = tmp_path / "out"
    asked = ["prepare", str(corpus), str(out), "--cache", str(tmp_path / "cache"), "--jobs", "1"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "2 kept" in done.output
    assert "1 unreadable" in done.output
    assert {path.name for path in out.iterdir()} == {"manifest.csv", "dropped.csv", "report.png"}
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
