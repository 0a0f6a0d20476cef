"""Serving, files and the command line work where nothing for training is installed."""

import subprocess
import sys

import numpy as np
import soundfile

SCRIPT = """
import sys

FORBIDDEN = {"torch", "torchaudio", "onnx", "onnxscript", "librosa", "safetensors", "omegaconf",
             "matplotlib", "tensorboard", "scipy", "pesq", "pystoi"}

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Block())

import sotto
assert "numpy" not in sys.modules, "import sotto must stay instant"
import sotto.export.runtime, sotto.export.streams, sotto.export.files
import sotto.service.server, sotto.service.client
import sotto.cli

from pathlib import Path
from sotto.export.files import decode_file, encode_file

bundle, source, packed, out = map(Path, sys.argv[1:])
codec = sotto.load(bundle)
encode_file(codec, source, packed)
decode_file(codec, packed, out)
assert not FORBIDDEN & set(sys.modules)
"""


def test_a_file_is_encoded_and_decoded_without_torch(tiny_bundle, tmp_path):
    sample_rate = 16_000
    audio = 0.1 * np.random.default_rng(0).standard_normal(sample_rate // 2 + 7)
    soundfile.write(tmp_path / "in.wav", audio, sample_rate)
    arguments = [tiny_bundle, tmp_path / "in.wav", tmp_path / "x.sotto", tmp_path / "out.wav"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    heard, rate = soundfile.read(tmp_path / "out.wav")
    assert (len(heard), rate) == (len(audio), sample_rate)
