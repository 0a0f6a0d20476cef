"""Requests out of bytes, where bytes that are no message must not become a traceback."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError


def parse_or_error(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A parser that gives the DecodeError of bytes that are no message, instead of raising it.

    gRPC itself would answer UNKNOWN and log a traceback for each.
    """

    def parsed(message: bytes) -> Any:
        try:
            return parse(message)
        except DecodeError as error:
            return error

    return parsed
