import io
import json
import math
from dataclasses import astuple

import numpy as np
import pytest
import soundfile
from rich.console import Console

from sotto.bench.clips import Score
from sotto.bench.evaluate import evaluate, find_audio
from sotto.bench.report import RESAMPLES, Summary, summarize
from sotto.bench.sample import sample_clip
from sotto.bench.scoring import ScoringTask, score_tasks
from sotto.bench.tables import print_report
from sotto.codec.errors import AudioError, CodesError, ConfigError, ShapeError
from sotto.codec.packing import bytes_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("speech")
    audio, rate = sample_clip()
    (root / "one").mkdir()
    (root / "two" / "deep").mkdir(parents=True)
    soundfile.write(root / "one" / "b.wav", audio[:36_000], rate)
    stereo = np.stack([audio[36_000:60_000:3], audio[36_000:60_000:3]], axis=1)
    soundfile.write(root / "two" / "deep" / "a.FLAC", stereo, rate // 3)
    (root / "two" / "notes.txt").write_text("not audio")
    return root


def printed(report):
    console = Console(width=160, file=io.StringIO())
    print_report(report, console)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def rates(tiny_codec):
    info = tiny_codec.info
    return [info.bitrate(1), info.bitrate(info.num_codebooks)]


@pytest.fixture(scope="module")
def report(tiny_codec, folder, rates):
    return evaluate(tiny_codec, folder, rates, jobs=1)


def test_every_clip_is_measured_at_every_bitrate(report, tiny_codec, rates):
    assert [clip.file for clip in report.clips] == ["one/b.wav", "two/deep/a.FLAC"]
    assert [clip.group for clip in report.clips] == ["one", "two"]
    assert [clip.seconds for clip in report.clips] == [1.5, 1.0]
    assert report.num_clips == 2
    assert report.seconds == 2.5
    assert [rate.bitrate for rate in report.rates] == rates
    for clip in report.clips:
        assert [p.num_codebooks for p in clip.points] == [1, tiny_codec.info.num_codebooks]


def test_measured_bitrate_counts_the_packed_bytes(report, tiny_codec):
    info = tiny_codec.info
    for rate in report.rates:
        frames = [info.num_frames(round(c.seconds * info.sample_rate)) for c in report.clips]
        sizes = [bytes_for(n * rate.num_codebooks, info.bits_per_code) for n in frames]
        assert rate.measured_bitrate == pytest.approx(8 * sum(sizes) / report.seconds)
        assert rate.times_real_time > 0


def test_codebook_use_counts_every_code_once(report, tiny_codec):
    info = tiny_codec.info
    frames = sum(info.num_frames(round(c.seconds * info.sample_rate)) for c in report.clips)
    assert [book.num_tokens for book in report.codebooks] == [frames] * info.num_codebooks
    assert all(0 < book.used_share <= 1 for book in report.codebooks)


def test_means_are_those_of_the_clips(report):
    for index, rate in enumerate(report.rates):
        for name, summary in rate.metrics.items():
            values = [clip.points[index].scores[name].value for clip in report.clips]
            assert summary.mean == pytest.approx(np.mean(values))
            assert [rate.groups[g][name].mean for g in ("one", "two")] == values


def test_the_same_seed_gives_the_same_report(report, tiny_codec, folder, rates):
    again = evaluate(tiny_codec, folder, rates, jobs=1)
    assert again.codebooks == report.codebooks
    for rate, before in zip(again.rates, report.rates, strict=True):
        for name, summary in rate.metrics.items():
            assert astuple(summary) == pytest.approx(astuple(before.metrics[name]), abs=1e-6)


def test_a_saved_report_is_json_that_says_what_its_numbers_are(report, tmp_path):
    report.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["format"] == 1
    assert saved["model"]["identity"] == report.model["identity"]
    assert saved["machine"]["cores"] >= 1
    assert saved["versions"]["pesq"]
    assert set(saved["rates"][0]["metrics"]) <= set(saved["definitions"])
    assert {"measured_bitrate", "times_real_time"} <= set(saved["definitions"])
    assert saved["clips"][0]["points"][0]["scores"]["stoi"]["value"] == pytest.approx(
        report.clips[0].points[0].scores["stoi"].value
    )


def test_a_printed_report_names_bitrates_metrics_and_definitions(report):
    text = printed(report)
    for word in ("PESQ-WB", "STOI", "SI-SDR", f"{report.rates[0].bitrate:g}", "95 %", "entropy"):
        assert word in text
    for definition in report.definitions.values():
        assert definition in text


def test_files_that_cannot_be_used_are_named_with_the_reason(tiny_codec, rates, tmp_path):
    audio, rate = sample_clip()
    soundfile.write(tmp_path / "good.wav", audio[:24_000], rate)
    soundfile.write(tmp_path / "empty.wav", audio[:0], rate)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), rate, "FLOAT")
    soundfile.write(tmp_path / "cut.flac", audio, rate)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp3").write_text("not audio")
    report = evaluate(tiny_codec, tmp_path, rates, jobs=1)
    assert [clip.file for clip in report.clips] == ["good.wav"]
    skipped = {file.file: file.reason for file in report.skipped}
    assert set(skipped) == {"cut.flac", "empty.wav", "nan.wav", "text.mp3"}
    assert "damaged" in skipped["cut.flac"]
    assert "0 samples" in skipped["empty.wav"]
    for file, reason in skipped.items():
        assert f"skipped {file}: {reason}" in printed(report)


def test_a_clip_without_speech_is_counted_apart_and_explained(tiny_codec, rates, tmp_path):
    audio, rate = sample_clip()
    soundfile.write(tmp_path / "speech.wav", audio[:24_000], rate)
    soundfile.write(tmp_path / "silence.wav", np.zeros(24_000, np.float32), rate)
    report = evaluate(tiny_codec, tmp_path, rates, jobs=1)
    stoi = report.rates[0].metrics["stoi"]
    assert (stoi.num_clips, stoi.num_nan) == (1, 1)
    assert stoi.mean == report.clips[1].points[0].scores["stoi"].value
    assert json.loads(report.to_json())["clips"][0]["points"][0]["scores"]["stoi"] == {
        "value": None,
        "reason": "the reference is silent",
    }
    assert "no number for 1 of 2 clips, such as silence.wav" in printed(report)


@pytest.mark.slow
def test_processes_give_the_scores_of_one_process_in_the_same_order():
    audio, rate = sample_clip()
    clips = [audio[start : start + 14_400] for start in (0, 14_400, 28_800)]
    tasks = [ScoringTask(clip, (clip, 0.5 * clip), rate, ()) for clip in clips]
    for one, other in zip(score_tasks(tasks, 1), score_tasks(tasks, 2), strict=True):
        for scores, others in zip(one, other, strict=True):
            values = {name: score.value for name, score in scores.items()}
            expected = {name: score.value for name, score in others.items()}
            assert values == pytest.approx(expected, abs=1e-6, nan_ok=True)


class Changed:
    """A codec that answers with something else than it should."""

    def __init__(self, codec, change_codes=lambda codes: codes, change_audio=lambda audio: audio):
        self.info = codec.info
        self.encode = lambda audio: change_codes(codec.encode(audio))
        self.decode = lambda codes, n=None: change_audio(codec.decode(codes, n))


def test_audio_that_comes_back_shorter_is_an_error_not_trimmed(tiny_codec, folder, rates):
    shorter = Changed(tiny_codec, change_audio=lambda audio: audio[..., :-1])
    with pytest.raises(ShapeError, match=r"one/b\.wav: 36000 samples came back"):
        evaluate(shorter, folder, rates, jobs=1)


def test_codes_with_a_frame_missing_are_an_error(tiny_codec, folder, rates):
    fewer = Changed(tiny_codec, change_codes=lambda codes: codes[..., :-1])
    with pytest.raises(ShapeError, match=r"one/b\.wav: 36000 samples gave codes"):
        evaluate(fewer, folder, rates, jobs=1)


def test_bitrates_that_mean_the_same_books_are_refused(tiny_codec, folder, rates):
    with pytest.raises(ConfigError, match="own number of books"):
        evaluate(tiny_codec, folder, [rates[0], 1.2 * rates[0]], jobs=1)
    with pytest.raises(ConfigError, match="missing"):
        evaluate(tiny_codec, folder, [], jobs=1)
    with pytest.raises(CodesError, match="outside"):
        evaluate(tiny_codec, folder, [1e6], jobs=1)
    with pytest.raises(ConfigError, match="jobs=0"):
        evaluate(tiny_codec, folder, rates, jobs=0)


def test_a_folder_without_usable_audio_is_an_error(tiny_codec, rates, tmp_path):
    with pytest.raises(AudioError, match="not a folder"):
        find_audio(tmp_path / "missing")
    with pytest.raises(AudioError, match="holds no audio"):
        find_audio(tmp_path)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"none of 1 files .* bad\.wav"):
        evaluate(tiny_codec, tmp_path, rates, jobs=1)


def test_the_interval_of_a_mean_covers_it_and_narrows_with_more_clips():
    values = np.random.default_rng(0).normal(3, 1, 400)
    few, many = (summarize([Score(v) for v in values[:n]], seed=0) for n in (10, 400))
    for summary in (few, many):
        assert summary.low < summary.mean < summary.high
    assert many.high - many.low < (few.high - few.low) / 3
    assert many.high - many.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert RESAMPLES >= 1000


def test_one_clip_has_no_interval_and_none_has_no_mean():
    one = summarize([Score(2.0), Score(math.nan, "silent")], seed=0)
    assert (one.mean, one.num_clips, one.num_nan) == (2.0, 1, 1)
    assert math.isnan(one.low)
    none = summarize([Score(math.nan, "silent")], seed=0)
    assert isinstance(none, Summary)
    assert math.isnan(none.mean)
