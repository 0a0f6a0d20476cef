"""Which clips there are: folders, CSV, JSON lines, and what is wrong with them."""

import json

import pytest

from sotto.codec.errors import AudioError
from sotto.train.manifest import find_clips


def test_a_folder_gives_its_audio_in_order_and_holds_out_every_twentieth(tmp_path):
    for number in range(40):
        (tmp_path / f"s{number % 2}").mkdir(exist_ok=True)
        (tmp_path / f"s{number % 2}" / f"{number:02}.FLAC").touch()
    (tmp_path / "notes.txt").touch()
    found = find_clips(tmp_path)
    assert [clip.path for clip in found] == sorted(clip.path for clip in found)
    assert len(found) == 40
    assert [i for i, clip in enumerate(found) if clip.split == "valid"] == [19, 39]
    assert {clip.speaker for clip in found} == {"s0", "s1"}
    assert {clip.source for clip in found} == {tmp_path.name}
    assert {clip.bandwidth_hz for clip in found} == {None}


def test_the_manifest_of_a_folder_decides(tmp_path):
    (tmp_path / "other.wav").touch()
    (tmp_path / "manifest.csv").write_text(
        "path,split,source,speaker,bandwidth_hz,more\na/b.wav,valid,src,me,8000,x\nc.wav,,,,,\n"
    )
    first, second = find_clips(tmp_path)
    assert first.path == tmp_path / "a" / "b.wav"
    assert (first.split, first.source, first.speaker, first.bandwidth_hz) == (
        "valid",
        "src",
        "me",
        8000.0,
    )
    assert (second.split, second.source, second.bandwidth_hz) == ("train", tmp_path.name, None)
    assert find_clips(tmp_path / "manifest.csv") == [first, second]


def test_json_lines_say_the_same(tmp_path):
    rows = [{"path": "a.wav", "bandwidth_hz": 4000}, {"path": "/b.wav", "speaker": "you"}]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    first, second = find_clips(manifest)
    assert (first.path, first.bandwidth_hz) == (tmp_path / "a.wav", 4000.0)
    assert (str(second.path), second.speaker) == ("/b.wav", "you")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"file\nx.wav\n", "row 1 has no path"),
        ("a.csv", b"path,split\nx.wav,train\n,train\n", "row 2 has no path"),
        ("a.csv", b"path,bandwidth_hz\nx.wav,wide\n", "bandwidth_hz='wide'"),
        ("a.csv", b"path,bandwidth_hz\nx.wav,-5\n", "bandwidth_hz='-5'"),
        ("a.csv", b"path,bandwidth_hz\nx.wav,nan\n", "bandwidth_hz='nan'"),
        ("a.csv", b"path\n\xff\xfe\n", "cannot be read"),
        ("a.jsonl", b'{"path": "x.wav"}\n{"path"', "cannot be read"),
        ("a.jsonl", b"[1]\n", "row 1 has no path"),
        ("a.jsonl", b'{"path": 3}\n', "row 1 has no path"),
        ("a.csv", b"path\n", "no audio in"),
        ("a.wav", b"RIFF\x00\x80\xff\x00", "cannot be read"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=message):
        find_clips(tmp_path / name)


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(AudioError, match=r"no audio in .*\.wav"):
        find_clips(tmp_path)
    with pytest.raises(AudioError, match="neither a folder nor a manifest"):
        find_clips(tmp_path / "nothing")
