"""LibriTTS in its own layout, mixtures, and what happens to what is missing or broken."""

import numpy as np
import pytest
import soundfile
from torchaudio.datasets import LIBRITTS

from sotto.codec.config import build
from sotto.codec.errors import AudioError, ConfigError
from sotto.train.config_data import SourceConfig
from sotto.train.corpus import gather, source_clips
from sotto.train.libritts import libritts_clips, libritts_root
from sotto.train.loop import Trainer


def add(root, subset, speaker, chapter=1, count=2, seconds=0.3):
    """Utterances with their texts, named as in the corpus."""
    folder = root / "LibriTTS" / subset / str(speaker) / str(chapter)
    folder.mkdir(parents=True)
    random = np.random.default_rng(speaker)
    for number in range(count):
        stem = folder / f"{speaker}_{chapter}_{number:06}_000000"
        audio = 0.1 * random.standard_normal(int(24_000 * seconds))
        soundfile.write(stem.with_suffix(".wav"), audio, 24_000)
        for kind in ("original", "normalized"):
            stem.with_suffix(f".{kind}.txt").write_text("Some words.\n")


@pytest.fixture
def root(tmp_path):
    for speaker in (19, 26, 27):
        add(tmp_path, "train-clean-100", speaker)
    add(tmp_path, "dev-clean", 84, count=1)
    add(tmp_path, "test-clean", 61, count=1)
    (tmp_path / "LibriTTS" / "speakers.tsv").write_text("READER\tGENDER\n")
    return tmp_path


def test_the_clips_are_those_that_torchaudio_finds(root):
    clips = libritts_clips(root)
    for subset, split in (("train-clean-100", "train"), ("dev-clean", "valid")):
        expected = set(LIBRITTS(root, url=subset)._walker)
        assert {c.path.stem for c in clips if c.split == split} == expected
    assert {clip.speaker for clip in clips if clip.split == "train"} == {"19", "26", "27"}
    assert {clip.split for clip in clips if clip.speaker == "61"} == {"test"}


def test_the_root_is_recognised_from_either_folder(root, tmp_path):
    assert libritts_root(root) == root
    assert libritts_root(root / "LibriTTS") == root
    assert libritts_root(root / "LibriTTS" / "dev-clean") is None
    assert len(source_clips(SourceConfig(path=str(root / "LibriTTS")), tmp_path)) == 8


def test_subsets_are_chosen_and_a_missing_one_is_named(root):
    assert len(libritts_clips(root, ["dev-clean"])) == 1
    with pytest.raises(AudioError, match=r"no subset 'train-other-500'.*there: train-clean-100"):
        libritts_clips(root, ["train-other-500"])
    with pytest.raises(AudioError, match="no subset 'train-clean'; it has train-clean-100"):
        libritts_clips(root, ["train-clean"])


def test_download_is_left_to_torchaudio(root, monkeypatch):
    asked = []

    def fetch(folder, url, download):
        asked.append((url, download))
        add(folder, url, 100)

    monkeypatch.setattr("torchaudio.datasets.LIBRITTS", fetch)
    clips = libritts_clips(root, ["train-clean-100", "train-clean-360"], download=True)
    assert asked == [("train-clean-360", True)]
    assert "100" in {clip.speaker for clip in clips}


def test_without_dev_subset_whole_speakers_are_held_out(root):
    clips = libritts_clips(root, ["train-clean-100"])
    assert {clip.speaker for clip in clips if clip.split == "valid"} == {"27"}
    assert {clip.speaker for clip in clips if clip.split == "train"} == {"19", "26"}


def test_an_empty_subset_is_reported_and_left_out(root, caplog):
    (root / "LibriTTS" / "train-other-500").mkdir()
    assert len(libritts_clips(root)) == 8
    assert "'train-other-500'" in caplog.text
    with pytest.raises(AudioError, match="no audio in"):
        libritts_clips(root, ["train-other-500"])


def test_a_run_on_the_corpus_survives_unreadable_and_missing_files(root, make_run, caplog):
    damaged = sorted((root / "LibriTTS" / "train-clean-100").glob("19/*/*.wav"))
    damaged[0].write_bytes(b"RIFF")
    damaged[1].unlink()
    trainer = Trainer(make_run(data=str(root), stages={"one": {"steps": 1, "quantize": False}}))
    trainer.run()
    assert "1 of 6 clips left out" in caplog.text
    assert {clip.speaker for clip in trainer.dataset.clips} == {"26", "27"}
    assert trainer.step == 1


def test_a_mixture_draws_by_weight_and_not_by_size(root, clips, make_run):
    mixture = [
        {"path": str(root), "name": "libritts", "weight": 1},
        {"path": str(clips), "name": "tones", "weight": 3},
    ]
    trainer = Trainer(make_run(data=None, mixture=mixture))
    picks = np.diff(trainer.dataset.cumulative, prepend=0)
    sources = np.array([clip.source for clip in trainer.dataset.clips])
    chance = picks / picks.sum()
    assert chance[sources == "tones"].sum() == pytest.approx(0.75)
    assert chance[sources == "libritts"].sum() == pytest.approx(0.25)
    assert {clip.source for clip in gather(trainer.config).valid} == {"libritts", "tones"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "either data or mixture"),
        ({"mixture": [{"path": "a", "name": "a"}]}, "either data or mixture"),
        ({"data": None, "mixture": [{"path": "a"}]}, "needs a name of its own"),
        ({"data": None, "mixture": [{"path": "a", "name": "b"}] * 2}, "needs a name of its own"),
        ({"data": None, "mixture": [{"path": "a", "name": "b", "weight": 0}]}, "weight"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(make_run, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_run(**changes)


def test_the_name_of_a_source_is_that_of_its_clips(clips, tmp_path):
    found = source_clips(build(SourceConfig, {"path": str(clips), "name": "mine"}), tmp_path)
    assert {clip.source for clip in found} == {"mine"}
