"""The quantizers that a test of all of them runs over."""

import pytest

from .quantizer_cases import CASES, NAMES, build, is_grid


def params(cases, names):
    """Cases for fixtures; of each quantizer the first options are in the default run."""
    return [
        pytest.param(case, id=name, marks=[pytest.mark.slow] if case[0] == before else [])
        for case, name, before in zip(
            cases, names, [None, *(case[0] for case in cases[:-1])], strict=True
        )
    ]


GRIDS = [is_grid(build(*case, started=False)) for case in CASES]
LEARNED = [case for case, grid in zip(CASES, GRIDS, strict=True) if not grid]
LEARNED_NAMES = [name for name, grid in zip(NAMES, GRIDS, strict=True) if not grid]


@pytest.fixture(params=params(CASES, NAMES))
def quantizer(request):
    return build(*request.param)


@pytest.fixture(params=params(LEARNED, LEARNED_NAMES))
def learned(request):
    """Quantizers whose codebooks are placed on latents and learn from them."""
    return build(*request.param)
