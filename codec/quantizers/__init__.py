"""Quantizers, one per file; importing this package registers all of them."""

from importlib import import_module
from pkgutil import iter_modules

from .base import NOT_HEARD, QUANTIZERS, Quantized, Quantizer

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["NOT_HEARD", "QUANTIZERS", "Quantized", "Quantizer"]
