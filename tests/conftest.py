"""Fixtures that every test may use: a tiny codec in torch, and the bundle exported from it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sotto.codec.config import CodecConfig, ComponentConfig
from sotto.codec.model import CodecModel
from sotto.export.onnx import export_bundle
from sotto.export.runtime import Codec


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny models are fastest on one thread, and tests run side by side with others."""
    torch.set_num_threads(1)


def tiny_config(quantizer: str = "rvq", **options: object) -> CodecConfig:
    """A codec of the real shape (24 kHz, frame 480) with tiny widths: 4 books of 16 entries."""
    return CodecConfig(
        name="tiny",
        version="1",
        sample_rate=24_000,
        frame_size=480,
        latent_dim=16,
        num_codebooks=4,
        codebook_size=16,
        encoder=ComponentConfig("stft-convnext", {"dim": 16, "num_blocks": 1, "mel_bands": 8}),
        quantizer=ComponentConfig(quantizer, dict(options)),
        decoder=ComponentConfig(
            "convnext-istft", {"dim": 16, "num_blocks": 1, "noise_bands": 6, "band": 0.5}
        ),
    )


def build_tiny(config: CodecConfig | None = None, seed: int = 0) -> CodecModel:
    """A tiny model with random weights and codebooks started on its own latents."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CodecModel(config or tiny_config()).eval()
        noise = torch.randn(4, 24_000 * 2)
    with torch.no_grad():
        latents, _ = model.encoder(0.1 * noise, model.encoder.init_state(4))
    model.quantizer.start(latents.flatten(0, 1), torch.Generator().manual_seed(seed))
    return model.requires_grad_(False)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., CodecConfig]:
    """`tiny_config`, for tests that vary it."""
    return tiny_config


@pytest.fixture(scope="session")
def make_model() -> Callable[..., CodecModel]:
    """`build_tiny`, for tests that need a model of their own."""
    return build_tiny


@pytest.fixture(scope="session")
def tiny_model() -> CodecModel:
    """The torch model that `tiny_bundle` was exported from."""
    return build_tiny()


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: CodecModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder exported from `tiny_model`; do not write to it."""
    folder = tmp_path_factory.mktemp("bundle")
    speech = 0.1 * torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(1))
    export_bundle(tiny_model, folder, speech=speech, card="# tiny\n")
    return folder


@pytest.fixture(scope="session")
def beam_bundle(tiny_model: CodecModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, exported with a beam of 3."""
    folder = tmp_path_factory.mktemp("beam")
    speech = 0.1 * torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(1))
    export_bundle(tiny_model, folder, speech=speech, beam_size=3)
    return folder


@pytest.fixture(scope="session")
def tiny_codec(tiny_bundle: Path) -> Codec:
    """The tiny bundle, loaded."""
    return Codec(tiny_bundle)
