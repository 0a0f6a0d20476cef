"""Opus as a peer: rate, length and timing of what comes back."""

import io

import numpy as np
import pytest
import soundfile

from sotto.bench.evaluate import evaluate_coder
from sotto.bench.opus import OpusCoder, packet_bytes
from sotto.bench.peers import make_peer
from sotto.bench.sample import sample_clip
from sotto.codec.errors import ConfigError


def test_opus_keeps_length_and_timing_and_spends_what_it_is_asked_for():
    audio, rate = sample_clip()
    low, high = OpusCoder([6000, 24_000]).code(audio)
    seconds = audio.size / rate
    assert 4500 < 8 * low.num_bytes / seconds < 7000
    assert 18_000 < 8 * high.num_bytes / seconds < 30_000
    for coded in (low, high):
        assert coded.audio.shape == audio.shape
    window = slice(20_000, 80_000)
    match = np.correlate(high.audio[window], audio[window.start + 200 : window.stop - 200])
    assert abs(int(match.argmax()) - 200) <= 1


def test_packets_are_counted_without_pages_and_headers():
    file = io.BytesIO()
    soundfile.write(file, np.zeros(48_000, np.float32), 24_000, format="OGG", subtype="OPUS")
    ogg = file.getvalue()
    pages = ogg.count(b"OggS")
    assert 100 <= packet_bytes(ogg) < len(ogg) - 28 * pages  # 2 s of 20 ms packets, 1 byte or more


def test_opus_is_measured_like_a_model(tmp_path):
    audio, rate = sample_clip()
    soundfile.write(tmp_path / "clip.wav", audio[: 2 * rate], rate)
    bitrates = [6000, 16_000]
    report = evaluate_coder(make_peer("opus", bitrates), tmp_path, bitrates, jobs=1)
    low, high = report.rates
    assert report.codebooks == ()
    assert low.metrics["pesq_wb"].mean < high.metrics["pesq_wb"].mean
    assert low.measured_bitrate < high.measured_bitrate


@pytest.mark.parametrize("bitrates", [[], [5000], [6000, 300_000]])
def test_bitrates_that_opus_does_not_have_are_refused(bitrates):
    with pytest.raises(ConfigError, match="6000 to 256000"):
        OpusCoder(bitrates)


def test_an_unknown_peer_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"unknown peer 'mp3' \(known: opus\)"):
        make_peer("mp3", [6000])
