"""Pictures: one a clip, whatever the clip."""

from pathlib import Path

import matplotlib.image
import numpy as np
import soundfile

from sotto.bench.pictures import draw_clips
from sotto.bench.sample import sample_clip
from sotto.export.runtime import Codec


def test_every_clip_gets_a_picture_with_a_row_for_each_bitrate(tiny_bundle: Path, tmp_path: Path):
    audio, rate = sample_clip()
    soundfile.write(tmp_path / "speech.wav", audio[: 2 * rate], rate)
    soundfile.write(tmp_path / "short.wav", audio[:100], rate)
    soundfile.write(tmp_path / "silent.wav", np.zeros(rate), rate)
    codec = Codec(tiny_bundle)
    few = draw_clips(codec, tmp_path, [400], tmp_path / "few")
    many = draw_clips(codec, tmp_path, [200, 400, 800], tmp_path / "many", max_clips=2)
    assert sorted(path.name for path in few) == ["short.png", "silent.png", "speech.png"]
    assert len(many) == 2
    heights = [matplotlib.image.imread(path[0]).shape[0] for path in (few, many)]
    assert heights[1] == 2 * heights[0]


def test_clips_of_one_name_get_a_picture_each_and_what_is_no_audio_gets_none(tiny_bundle, tmp_path):
    audio, rate = sample_clip()
    for speaker in ("one", "two"):
        (tmp_path / speaker).mkdir()
        soundfile.write(tmp_path / speaker / "1.wav", audio[:4800], rate)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    drawn = draw_clips(Codec(tiny_bundle), tmp_path, [400], tmp_path / "drawn")
    assert sorted(path.name for path in drawn) == ["one-1.png", "two-1.png"]
    assert all(path.is_file() for path in drawn)
