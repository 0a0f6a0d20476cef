from pathlib import Path

import numpy as np
import pytest
import soundfile

from sotto.bench.demo import main
from sotto.codec.bitstream import SottoReader


def test_the_demo_leaves_codes_audio_of_the_same_length_and_a_picture(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    out = tmp_path / "out"
    main(clip, bitrate=400, model=str(tiny_bundle), output=out)
    assert "400 bit/s" in capsys.readouterr().out
    decoded, rate = soundfile.read(out / "decoded.wav")
    assert (len(decoded), rate) == (16_000, 16_000)
    assert (out / "spectrogram.png").read_bytes().startswith(b"\x89PNG")
    with SottoReader(out / "codes.sotto") as reader:
        assert reader.header.num_codebooks == 2
        assert reader.source_num_samples == 16_000
