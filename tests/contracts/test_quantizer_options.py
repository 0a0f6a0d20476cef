"""Options that make no sense are clear errors."""

import pytest

from sotto.codec.errors import ConfigError

from .quantizer_cases import OPTIONS, D, build


@pytest.mark.parametrize(
    "options",
    [{"codebook_dim": 0}, {"decay": 1.0}, {"learning": "no"}, {"gradient": "no"}, {"widht": 3}],
)
@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_clear_errors(name, options):
    with pytest.raises(ConfigError, match=rf"quantizer '{name}'.*{next(iter(options))}"):
        build(name, options)


@pytest.mark.parametrize("name", ["rvq", "grvq"])  # the others hold quantizers that refuse it
def test_entries_wider_than_the_latents_are_refused(name):
    with pytest.raises(ConfigError, match=f"codebook_dim={D + 1} is wider than latent_dim"):
        build(name, {"codebook_dim": D + 1})
