"""Every quantizer with its options, made once, and what the tests of all of them ask it for."""

import copy
import json
from functools import cache

import torch

from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.codebook import Codebook
from sotto.codec.quantizers.grid import GridQuantizer

D, K, SIZE = 24, 4, 16
RESIDUAL = [  # every pair of choices occurs
    {"gradient": gradient, "learning": learning, "codebook_dim": width, "decay": 0.9}
    for gradient, learning, width in (
        ("straight_through", "ema", None),
        ("rotation", "gradient", None),
        ("rotation", "ema", 3),
        ("straight_through", "gradient", 3),
    )
]
COMBINED = [  # parts of different papers together
    {"learning": "simvq", "assignment": "sinkhorn", "codebook_dim": 3, "wasserstein": 0.1},
    {"learning": "bridge", "assignment": "index", "gradient": "assignment", "entropy": 0.1},
    {"learning": "affine", "upkeep": "anchors", "inner_steps": 1, "synchronise": 0.5},
    {"learning": "features", "assignment": "gumbel", "gradient": "assignment", "codebook_dim": 3},
    {"learning": "ema", "assignment": "sinkhorn", "upkeep": "anchors", "entropy": 0.1},
]
# A quantizer not named here runs with its defaults.
OPTIONS = {
    "rvq": [*COMBINED, *RESIDUAL],
    "grvq": RESIDUAL,
    "cascade": [{}, {"first": "fsq", "stage": "simvq"}],
    "product": [{}, {"groups": 2, "inner": "lfq"}],
    "mcrvq": [{"masked": 2}, {"masked": 2, "first": "cvq", "rest": "fvq"}],
    "multi-scale": [{"steps": 2, "strides": [2, 2, 1]}],
    "cross-scale": [{}, {"scales": 2, "inner": "simvq"}],
    "fqgan": [{}, {"groups": 2, "group_dim": 5, "inner": "rvq"}],
    "vaevq": [{}, {"inner": "grvq"}],
}
CASES = [(name, options) for name in QUANTIZERS.available() for options in OPTIONS.get(name, [{}])]
NAMES = [" ".join([name, *(str(value) for value in options.values())]) for name, options in CASES]


def sample(batch=3, frames=20, seed=0):
    """Latents [B, T, D] with few directions of much energy, as a codec's have."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=torch.Generator().manual_seed(9))
    return torch.randn(batch, frames, D, generator=random) @ (mix * 0.7 ** torch.arange(D))


def build(name, options, started=True, books=K):
    """A quantizer of its own for the caller; made once."""
    return copy.deepcopy(_build(name, json.dumps(options), started, books))


@cache
def _build(name, options, started, books):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            name, json.loads(options), latent_dim=D, num_codebooks=books, codebook_size=SIZE
        )
    if started:
        latents = sample(10, 50, seed=1).flatten(0, 1)
        quantizer.start(latents, torch.Generator().manual_seed(0))
    return quantizer.eval()


def full(batch=3):
    return torch.full((batch,), K)


def error(quantizer, latents, books=K):
    codes = quantizer.encode(latents)[:, :books]
    return (quantizer.decode(codes) - latents).square().mean().item()


def snapshot(quantizer):
    return {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}


def entries(state):
    return {name: tensor for name, tensor in state.items() if name.endswith(".entries")}


def books_of(quantizer):
    return [module for module in quantizer.modules() if isinstance(module, Codebook)]


def training_loss(out):
    loss = out.latents.square().mean() + out.commitment + out.codebook
    return loss if out.auxiliary is None else loss + out.auxiliary


def is_grid(quantizer):
    """Whether it has points found by arithmetic: they are not placed on latents, or restarted."""
    return any(isinstance(module, GridQuantizer) for module in quantizer.modules())
