"""Quantizers, one per file; importing this package registers all of them."""

from . import fsq, group_residual, residual
from .base import NOT_HEARD, QUANTIZERS, Quantized, Quantizer

__all__ = [
    "NOT_HEARD",
    "QUANTIZERS",
    "Quantized",
    "Quantizer",
    "fsq",
    "group_residual",
    "residual",
]
