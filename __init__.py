"""Sotto: a streaming neural speech codec and tokenizer; `load` a model, encode, decode."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sotto.export.runtime import Codec, load

__all__ = ["Codec", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # PEP 562: `import sotto` stays instant, and needs nothing until something is used.
    if name in ("load", "Codec"):
        return getattr(import_module("sotto.export.runtime"), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("sotto-codec")
    raise AttributeError(f"module 'sotto' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
