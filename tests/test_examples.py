"""The Python examples run as they stand against a live server."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from sotto.bench.server import running_server

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_file_is_streamed_and_comes_back_with_its_length(tiny_bundle, tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal((8000, 2))
    soundfile.write(source, noise, 16_000)
    with running_server(tiny_bundle) as server:
        command = [sys.executable, EXAMPLES / "stream_file.py", source, target]
        done = subprocess.run(
            [*command, "--address", server.address, "--bitrate", "400"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "0.50 s" in done.stdout
    audio, rate = soundfile.read(target)
    assert (audio.shape, rate) == ((8000, 2), 16_000)


def test_the_microphone_example_fills_gaps_with_silence():
    example = runpy.run_path(str(EXAMPLES / "microphone.py"))
    loudspeaker = example["Loudspeaker"]()
    loudspeaker.play(np.arange(1, 6, dtype=np.float32)[np.newaxis])
    assert loudspeaker.take(3).tolist() == [1, 2, 3]
    assert loudspeaker.take(3).tolist() == [4, 5, 0]
    assert loudspeaker.take(2).tolist() == [0, 0]
