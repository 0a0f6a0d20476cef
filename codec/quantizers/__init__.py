"""Quantizers, one per file; importing this package registers all of them."""

from . import (
    affine,
    cvq,
    fsq,
    fvq,
    group_residual,
    gumbel,
    ibq,
    optvq,
    residual,
    simvq,
    vqgan_lc,
    wasserstein,
)
from .base import NOT_HEARD, QUANTIZERS, Quantized, Quantizer

__all__ = [
    "NOT_HEARD",
    "QUANTIZERS",
    "Quantized",
    "Quantizer",
    "affine",
    "cvq",
    "fsq",
    "fvq",
    "group_residual",
    "gumbel",
    "ibq",
    "optvq",
    "residual",
    "simvq",
    "vqgan_lc",
    "wasserstein",
]
