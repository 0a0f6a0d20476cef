"""The `.sotto` file: write, read, cut, join and re-rate codes; `docs/format.md` gives the bytes."""

from .edit import cut, join, rerate
from .header import Header, read_header
from .reader import Block, Errors, SottoReader
from .writer import SottoWriter, create

__all__ = [
    "Block",
    "Errors",
    "Header",
    "SottoReader",
    "SottoWriter",
    "create",
    "cut",
    "join",
    "read_header",
    "rerate",
]
