"""Configuration: validated, frozen, and errors that say what exists."""

import dataclasses

import pytest
from pydantic import TypeAdapter

from sotto.codec.config import CodecConfig, ComponentConfig, build
from sotto.codec.errors import ConfigError


def values(**changes):
    return {
        "name": "a",
        "version": "1",
        "sample_rate": 24_000,
        "frame_size": 480,
        "latent_dim": 8,
        "num_codebooks": 2,
        "codebook_size": 16,
        "encoder": {"name": "e", "options": {"dim": 3}},
        "quantizer": {"name": "q"},
        "decoder": {"name": "d"},
    } | changes


def test_a_mapping_becomes_nested_dataclasses():
    config = build(CodecConfig, values())
    assert config.encoder == ComponentConfig("e", {"dim": 3})
    assert config.quantizer.options == {}
    assert config.frame_rate == 50.0


def test_json_and_back_is_the_same_configuration():
    config = build(CodecConfig, values())
    dumped = TypeAdapter(CodecConfig).dump_python(config, mode="json")
    assert build(CodecConfig, dumped) == config


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        build(CodecConfig, values()).frame_size = 1  # type: ignore[misc]


def test_an_unknown_field_names_the_nearest_and_lists_the_rest():
    with pytest.raises(ConfigError, match=r"here: unknown field 'frame_sise'; did you mean 'fra"):
        build(CodecConfig, values(frame_sise=3), "here")
    with pytest.raises(ConfigError, match=r"known: name, version, sample_rate"):
        build(CodecConfig, values(zzz=3))


def test_an_unknown_field_inside_is_named_with_its_path():
    with pytest.raises(ConfigError, match=r"encoder: unknown field 'optoins'; did you mean 'opti"):
        build(CodecConfig, values(encoder={"name": "e", "optoins": {}}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0),
        ("frame_size", -1),
        ("frame_size", "many"),
        ("num_codebooks", 2.5),
        ("codebook_size", 1),
        ("codebook_size", 1 << 17),
        ("codebook_size", 100),
        ("name", None),
        ("encoder", []),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=field):
        build(CodecConfig, values(**{field: value}))


def test_every_problem_is_reported_at_once():
    with pytest.raises(ConfigError, match=r"(?s)frame_size.*latent_dim"):
        build(CodecConfig, values(frame_size=0, latent_dim=0))


@pytest.mark.parametrize("given", [None, 5, "text", ["name"]])
def test_anything_but_a_mapping_is_refused(given):
    with pytest.raises(ConfigError, match="expected a mapping"):
        build(CodecConfig, given)


def test_keys_that_are_not_text_are_refused():
    with pytest.raises(ConfigError):
        build(CodecConfig, values() | {5: 1})
