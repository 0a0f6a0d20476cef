"""Codecs of others that can be measured beside a model, by name."""

from collections.abc import Callable, Sequence

from sotto.codec.errors import ConfigError

from .coders import Coder
from .opus import OpusCoder

PEERS: dict[str, Callable[[Sequence[float]], Coder]] = {"opus": OpusCoder}


def make_peer(name: str, bitrates: Sequence[float]) -> Coder:
    """A peer, prepared for some bitrates.

    Raises:
        ConfigError: No such peer, or a bitrate it does not have.
    """
    if name not in PEERS:
        raise ConfigError(f"unknown peer '{name}' (known: {', '.join(sorted(PEERS))})")
    return PEERS[name](bitrates)
