"""WebDataset shards: unpacked once, described by their JSON, broken ones left out."""

import io
import json
import sys
import tarfile

import numpy as np
import pytest
import soundfile

from sotto.codec.errors import AudioError, BackendError
from sotto.train import shards as module
from sotto.train.loop import Trainer
from sotto.train.shards import is_shards, shard_clips
from sotto.train.teachers import transcript


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def sound(seed):
    file = io.BytesIO()
    audio = 0.1 * np.random.default_rng(seed).standard_normal(6_000)
    soundfile.write(file, audio, 24_000, format="FLAC")
    return file.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Two shards of two clips each; the second clip of each is described."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"s-{shard}.tar", "w") as archive:
            add(archive, "../../out.flac", sound(2 * shard))
            add(archive, "me/b.flac", sound(2 * shard + 1))
            about = {"speaker": "me", "bandwidth_hz": 8000, "split": "valid", "text": "words"}
            add(archive, "me/b.json", json.dumps(about).encode())
            add(archive, "notes.txt", b"no audio")
    return str(tmp_path / "s-{0..1}.tar")


def test_every_clip_is_found_with_what_is_known_of_it(shards, tmp_path):
    clips = shard_clips(shards, tmp_path / "cache")
    assert len(clips) == 4
    assert [clip.split for clip in clips] == ["train", "valid"] * 2
    assert (clips[1].speaker, clips[1].bandwidth_hz) == ("me", 8000.0)
    assert all((tmp_path / "cache") in clip.path.parents for clip in clips)
    assert not list(tmp_path.rglob("out.flac"))


def test_what_is_said_reaches_a_language_model(tmp_path):
    with tarfile.open(tmp_path / "words.tar", "w") as archive:
        add(archive, "a.flac", sound(0))
        add(archive, "a.txt", "  from the text, ä\n".encode())
        add(archive, "b.flac", sound(1))
        add(archive, "b.json", json.dumps({"transcript": "from the column"}).encode())
        add(archive, "b.txt", b"not this")
        add(archive, "c.flac", sound(2))
    clips = shard_clips(str(tmp_path / "words.tar"), tmp_path / "cache")
    assert [transcript(clip) for clip in clips] == ["from the text, ä", "from the column", None]


def test_a_shard_is_read_once(shards, tmp_path, monkeypatch):
    first = shard_clips(shards, tmp_path / "cache")
    monkeypatch.setattr(module, "_samples", lambda url: pytest.fail("read again"))
    assert shard_clips(shards, tmp_path / "cache") == first


def test_a_broken_or_missing_shard_is_named_and_left_out(shards, tmp_path, caplog):
    whole = (tmp_path / "s-1.tar").read_bytes()
    (tmp_path / "s-1.tar").write_bytes(b"x" * 700)
    assert len(shard_clips(shards, tmp_path / "cache")) == 2
    assert "s-1.tar' left out" in caplog.text
    (tmp_path / "s-1.tar").write_bytes(whole)
    assert len(shard_clips(shards, tmp_path / "cache")) == 4
    with pytest.raises(AudioError, match="none of 1 shards"):
        shard_clips(str(tmp_path / "gone.tar"), tmp_path / "cache")


def test_a_run_trains_on_shards(shards, make_run):
    stages = {"one": {"steps": 1, "quantize": False}}
    trainer = Trainer(make_run(data=shards, stages=stages))
    trainer.run()
    assert trainer.step == 1
    assert len(trainer.dataset.clips) == 2


def test_without_the_package_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "webdataset.shardlists", None)
    with pytest.raises(BackendError, match=r"sotto-codec\[shards\]"):
        shard_clips("a.tar", tmp_path)


def test_shards_are_known_by_their_names():
    assert is_shards("s3://bucket/a-{000..099}.tar")
    assert not is_shards("list.csv")
