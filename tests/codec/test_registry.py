"""Parts by name: what is unknown is an error that lists what exists."""

from dataclasses import dataclass

import pytest
import torch

from sotto.codec.config import ComponentConfig
from sotto.codec.decoder import DECODERS
from sotto.codec.encoder import ENCODERS
from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.registry import Registry


@pytest.fixture
def parts():
    registry = Registry("part")

    @registry.register("round")
    class Round:
        @dataclass(frozen=True)
        class Config:
            radius: int = 1

        def __init__(self, config, *, scale):
            self.area = scale * config.radius**2

    return registry


def test_a_part_is_made_from_its_options_and_the_context(parts):
    assert parts.create("round", {"radius": 3}, scale=2).area == 18
    assert parts.create("round", scale=2).area == 2


def test_an_unknown_name_lists_what_exists(parts):
    with pytest.raises(ConfigError, match=r"unknown part 'rund'; did you mean 'round'\?.*round"):
        parts.create("rund")


def test_an_unknown_option_lists_what_exists(parts):
    with pytest.raises(ConfigError, match=r"part 'round': unknown field 'radios'.*known: radius"):
        parts.create("round", {"radios": 3}, scale=1)


def test_a_name_cannot_be_taken_twice(parts):
    with pytest.raises(ConfigError, match="twice"):
        parts.register("round")(object)


def test_every_family_has_its_members():
    assert "stft-convnext" in ENCODERS.available()
    assert "convnext-istft" in DECODERS.available()
    assert {"rvq", "grvq"} <= set(QUANTIZERS.available())


@pytest.mark.parametrize("part", ["encoder", "quantizer", "decoder"])
def test_a_model_names_the_part_that_is_unknown(make_config, part):
    config = make_config()
    object.__setattr__(config, part, ComponentConfig("nothing"))
    with pytest.raises(ConfigError, match=rf"model 'tiny': unknown {part} 'nothing' \(known: "):
        CodecModel(config)


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("encoder", {"dim": 0}),
        ("encoder", {"band": 1.5}),
        ("encoder", {"power": 0}),
        ("decoder", {"num_blocks": -1}),
        ("quantizer", {"codebook_dim": 17}),
        ("quantizer", {"learning": "magic"}),
    ],
)
def test_a_model_names_the_option_that_cannot_work(make_config, part, options):
    config = make_config()
    name = getattr(config, part).name
    object.__setattr__(config, part, ComponentConfig(name, options))
    with pytest.raises(ConfigError, match=next(iter(options))):
        CodecModel(config)


def test_building_a_model_only_draws_from_the_generator_it_is_given(make_model):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    make_model()
    assert torch.equal(torch.get_rng_state(), before)
