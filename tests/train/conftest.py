"""Generated audio and a run so small that it takes a second."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import TypeAdapter

from sotto.codec.config import CodecConfig, build
from sotto.train.config import RunConfig


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tones and noise with a manifest: 5 training clips, 2 for validation."""
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(0)
    rows = ["path,split,source,speaker,bandwidth_hz"]
    for number, rate in enumerate((24_000, 16_000, 48_000, 24_000, 24_000, 24_000, 24_000)):
        time = np.arange(int(rate * random.uniform(0.2, 0.7))) / rate
        tone = 0.2 * np.sin(2 * np.pi * 110 * (number + 1) * time)
        audio = tone + 0.05 * random.standard_normal(len(time))
        soundfile.write(folder / f"{number}.wav", audio, rate)
        split = "valid" if number > 4 else "train"
        rows.append(f"{number}.wav,{split},tones,speaker{number % 2},{min(rate / 2, 12_000):g}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def make_run_in(clips: Path, make_config: Callable[..., CodecConfig]) -> Callable[..., RunConfig]:
    """A run in a folder, of two steps in each of the three stages, with changes."""

    def make(folder: Path, **changes: object) -> RunConfig:
        model = TypeAdapter(CodecConfig).dump_python(make_config(), mode="json")
        adversarial = {"steps": 2, "adversarial": True, "freeze": ["encoder", "quantizer"]}
        values = {
            "model": model,
            "data": str(clips),
            "output": str(folder / "run"),
            "dataset": {
                "cache": str(folder / "cache"),
                "crop_seconds": 0.1,
                "batch_size": 2,
                "workers": 0,
            },
            "loss": {"mel_windows": [512], "mel_bands": [20], "stft_windows": [256]},
            "discriminators": [
                {"name": "stft", "options": {"windows": [128], "channels": 2}},
                {"name": "period", "options": {"periods": [5], "channels": 2, "max_channels": 4}},
            ],
            "stages": {
                "autoencoder": {"steps": 2, "quantize": False, "latent_noise": 0.1},
                "quantized": {"steps": 2},
                "adversarial": adversarial,
            },
            "device": "cpu",
            "restart_every": 1,
            "start_latents": 100,
            "log_every": 1,
            "checkpoint_every": 4,
            "validate_every": 100,
            "listen_every": 0,
            "validation_clips": 1,
        }
        return build(RunConfig, json.loads(json.dumps(values)) | changes)

    return make


@pytest.fixture
def make_run(make_run_in: Callable[..., RunConfig], tmp_path: Path) -> Callable[..., RunConfig]:
    """A run in the test's own folder."""
    return functools.partial(make_run_in, tmp_path)
