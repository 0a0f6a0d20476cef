"""Fixtures that every test may use: a tiny codec in torch, and the bundle exported from it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from sotto.codec.config import CodecConfig, ComponentConfig
from sotto.codec.model import CodecModel
from sotto.export.graphs import round_to_half
from sotto.export.onnx import export_bundle
from sotto.export.runtime import Codec

Once = Callable[[str, Callable[[Path], object]], Path]


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
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Fills a folder once for all processes of this run of the tests: `once(name, fill)`.

    What is slow to make and the same every time, such as an exported graph, is made by the first
    process that needs it. Nobody may write to the folder afterwards.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    root.mkdir(exist_ok=True)

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, part = root / name, root / f"{name}.part"
        with FileLock(root / f"{name}.lock"):
            if not folder.exists():
                part.mkdir(exist_ok=True)
                fill(part)
                part.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_model() -> CodecModel:
    """The torch model that `tiny_bundle` was exported from, rounded as its export rounds it."""
    model = build_tiny()
    round_to_half(model)
    return model


def export_tiny(model: CodecModel, folder: Path, **options: object) -> None:
    """Export `model` and check it on noise."""
    speech = 0.1 * torch.randn(1, 1, 24_000, generator=torch.Generator().manual_seed(1))
    export_bundle(model, folder, speech=speech, **options)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: CodecModel, once: Once) -> Path:
    """A bundle folder exported from `tiny_model`; do not write to it."""
    return once("tiny", lambda folder: export_tiny(tiny_model, folder, card="# tiny\n"))


@pytest.fixture(scope="session")
def beam_bundle(tiny_model: CodecModel, once: Once) -> Path:
    """The same model, exported with a beam of 3; do not write to it."""
    return once("beam", lambda folder: export_tiny(tiny_model, folder, beam_size=3))


@pytest.fixture(scope="session")
def tiny_codec(tiny_bundle: Path) -> Codec:
    """The tiny bundle, loaded."""
    return Codec(tiny_bundle)
