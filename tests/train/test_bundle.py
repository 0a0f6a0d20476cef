import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from sotto.codec.errors import BundleError, ConfigError
from sotto.commands import files
from sotto.export import onnx
from sotto.export.onnx import identity
from sotto.export.runtime import Codec
from sotto.train.bundle import export_again, export_run
from sotto.train.config import RunConfig
from sotto.train.loop import Trainer
from sotto.train.weights import load_weights


@pytest.fixture(scope="module")
def exported(
    make_run_in: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunConfig, Path]:
    """A finished run and its bundle."""
    folder = tmp_path_factory.mktemp("exported")
    config = make_run_in(folder)
    Trainer(config).run()
    export_run(config.output, folder / "bundle")
    return config, folder / "bundle"


def test_a_run_becomes_a_bundle_with_weights_and_a_card(
    exported: tuple[RunConfig, Path],
) -> None:
    _, bundle = exported
    codec = Codec(bundle)
    assert identity(load_weights(bundle)) == codec.info.identity
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "step 6" in card
    assert "tones" in card


def test_a_bundle_is_exported_again_with_a_beam_and_the_same_tokens(
    exported: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    _, bundle = exported
    once = Codec(bundle)
    speech = torch.randn(1, 1, 24 * once.info.frame_size, generator=torch.Generator()) / 10
    export_again(bundle, tmp_path, speech.numpy(), beam_size=2)
    again = Codec(tmp_path)
    assert again.info.identity == once.info.identity
    assert (tmp_path / "MODEL_CARD.md").read_text() == (bundle / "MODEL_CARD.md").read_text()
    assert identity(load_weights(tmp_path)) == again.info.identity
    assert (once.beam_size, again.beam_size) == (1, 2)
    codes, _ = again.encode_step(speech.numpy(), again.encoder_state())
    heard = [each.decode_step(codes, each.decoder_state())[0] for each in (once, again)]
    assert np.array_equal(*heard)
    with pytest.raises(BundleError, match="the bundle itself"):
        export_again(bundle, bundle, speech.numpy())


def test_the_command_says_how_to_export_a_model_again(
    exported: tuple[RunConfig, Path], tmp_path: Path
) -> None:
    _, bundle = exported
    with pytest.raises(BundleError, match="give --speech CLIP"):
        files.export(str(bundle), tmp_path)
    with pytest.raises(typer.BadParameter, match="a model has no checkpoints"):
        files.export(str(bundle), tmp_path, speech=[tmp_path / "clip.wav"], best=True)


def test_exporting_again_keeps_a_card_that_was_edited(
    exported: tuple[RunConfig, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = exported
    monkeypatch.setattr(onnx, "_write", lambda *_: None)
    monkeypatch.setattr(onnx, "check_parity", lambda *_: None)
    (tmp_path / "MODEL_CARD.md").write_text("mine\n")
    export_run(config.output, tmp_path, weights=False)
    assert (tmp_path / "MODEL_CARD.md").read_text() == "mine\n"
    assert not (tmp_path / "model.safetensors").exists()


def test_a_new_run_goes_on_from_the_weights_of_a_bundle(
    exported: tuple[RunConfig, Path], make_run_in: Callable[..., RunConfig], tmp_path: Path
) -> None:
    _, bundle = exported
    trainer = Trainer(make_run_in(tmp_path, init=str(bundle), stages={"on": {"steps": 1}}))
    expected = load_weights(bundle).state_dict()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert trainer.config.quantizer_step is None  # its codebooks are not started anew
    trainer.run()
    assert trainer.step == 1


def test_weights_of_another_model_are_refused(
    exported: tuple[RunConfig, Path], make_run_in: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config, bundle = exported
    other = json.loads((bundle / "config.json").read_text())["model"] | {"latent_dim": 8}
    with pytest.raises(ConfigError, match="encoder of init does not fit the configuration"):
        Trainer(make_run_in(tmp_path, init=str(bundle), model=other))
    with pytest.raises(BundleError, match=r"model\.safetensors"):
        load_weights(config.output)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not the folder of a training run"):
        export_run(tmp_path, tmp_path / "bundle")
