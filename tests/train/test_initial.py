"""Fine-tuning: a new decoder for frozen tokens, a new domain, fewer books."""

import dataclasses

import pytest
import torch

from sotto.codec.config import ComponentConfig
from sotto.codec.errors import BundleError, ConfigError
from sotto.train.initial import load_initial, take_over
from sotto.train.loop import Trainer

AUDIO = 0.1 * torch.randn(1, 1, 4_800, generator=torch.Generator().manual_seed(0))


def codes(model):
    with torch.no_grad():
        return model.eval().encode(AUDIO, model.encoder.init_state(1))[0]


@pytest.fixture(scope="module")
def earlier(make_run_in, tmp_path_factory):
    """A finished run to start from; do not write to it."""
    trainer = Trainer(make_run_in(tmp_path_factory.mktemp("earlier")))
    trainer.run()
    return trainer


def test_a_run_starts_from_the_checkpoint_of_another_with_its_averaged_decoder(earlier, make_run):
    stages = {"domain": {"steps": 1}}
    trainer = Trainer(make_run(init=str(earlier.config.output), stages=stages))
    assert torch.equal(codes(trainer.model), codes(earlier.model))
    average = earlier.learner.average.module.state_dict()
    assert all(torch.equal(t, average[n]) for n, t in trainer.model.decoder.state_dict().items())
    trainer.run()
    assert trainer.step == 1


def test_a_new_decoder_learns_for_tokens_that_stay(earlier, make_run, make_config):
    model = dataclasses.replace(
        make_config(), decoder=ComponentConfig("convnext-istft", {"dim": 24, "num_blocks": 2})
    )
    base = make_run(
        init=str(earlier.config.output),
        init_parts=["encoder", "quantizer"],
        stages={"decoder": {"steps": 2, "freeze": ["encoder", "quantizer"]}},
    )
    trainer = Trainer(dataclasses.replace(base, model=model))
    fresh = {n: t.clone() for n, t in trainer.model.decoder.state_dict().items()}
    trainer.run()
    assert torch.equal(codes(trainer.model), codes(earlier.model))
    assert any(not torch.equal(t, fresh[n]) for n, t in trainer.model.decoder.state_dict().items())


def test_a_frozen_decoder_stays_while_the_encoder_learns(earlier, make_run):
    stages = {"encoder": {"steps": 2, "freeze": ["decoder"]}}
    trainer = Trainer(make_run(init=str(earlier.config.output), stages=stages))
    before = {n: t.clone() for n, t in trainer.model.state_dict().items()}
    trainer.run()
    moved = {
        name.split(".")[0]
        for name, tensor in trainer.model.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == {"encoder", "quantizer"}


@pytest.mark.parametrize("quantizer", ["rvq", "grvq"])
def test_fewer_books_give_the_first_codes_of_more(make_model, make_config, quantizer):
    config = make_config(quantizer)
    many = make_model(config)
    few = make_model(dataclasses.replace(config, num_codebooks=2), seed=1)
    take_over(few, many, ("encoder", "quantizer", "decoder"))
    assert torch.equal(codes(few), codes(many)[:, :2])
    with torch.no_grad():
        heard, _ = few.decode(codes(few), few.decoder.init_state(1))
        expected, _ = many.decode(codes(many)[:, :2], many.decoder.init_state(1))
    torch.testing.assert_close(heard, expected)


def test_more_books_than_there_were_are_refused(make_model, make_config):
    more = make_model(dataclasses.replace(make_config(), num_codebooks=8))
    with pytest.raises(ConfigError, match="quantizer of init does not fit"):
        take_over(more, make_model(), ("quantizer",))


def test_a_part_of_another_kind_is_refused(make_model, make_config):
    with pytest.raises(ConfigError, match="init has the quantizer grvq, not rvq; leave it out"):
        take_over(make_model(), make_model(make_config("grvq")), ("quantizer",))


def test_a_folder_with_neither_bundle_nor_run_is_refused(tmp_path):
    with pytest.raises(BundleError):
        load_initial(tmp_path)
    (tmp_path / "run.json").write_text("[")
    with pytest.raises(BundleError, match="not the folder of a training run"):
        load_initial(tmp_path)
