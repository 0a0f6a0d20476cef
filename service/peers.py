"""Who calls: the token, the client certificate or the address behind a call."""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.parse import unquote

from .errors import UnauthenticatedError
from .tokens import SCHEME, Tokens

_IPV6_PREFIX: Final = 64  # what one customer usually has; single addresses are free to change
_NAMES: Final = ("x509_subject_alternative_name", "x509_common_name")


def authenticate(metadata: Any, tokens: Tokens | None) -> str:
    """The name of the token that a call carries; empty if none is needed.

    Raises:
        UnauthenticatedError: One is needed, and this is none or an unknown one.
    """
    if tokens is None:
        return ""
    given = next((value for key, value in metadata or () if key == "authorization"), None)
    if not isinstance(given, str) or not given.startswith(SCHEME):
        raise UnauthenticatedError("no token; send the metadata 'authorization: Bearer TOKEN'")
    name = tokens.name_of(given.removeprefix(SCHEME))
    if name is None:
        raise UnauthenticatedError("this token is not known here; ask the operator for one")
    return name


def peer_address(context: Any) -> str:
    """Where the call comes from, such as `ipv4:127.0.0.1:53412`."""
    return unquote(context.peer())


def peer_key(context: Any, token_name: str) -> str:
    """What counts as one client: a token's name, a certificate's, or else an address.

    Of IPv6 the network counts, since a client has as many addresses in it as it likes.
    """
    if token_name:
        return f"token:{token_name}"
    identity = context.auth_context()
    for name in _NAMES:
        if identity.get(name):
            return f"certificate:{next(iter(identity[name])).decode(errors='replace')}"
    match = re.fullmatch(r"ipv[46]:\[?([^\]]+?)\]?:\d+", peer_address(context))
    if match is None:  # a UNIX socket
        return "local"
    address = ip_address(match[1].partition("%")[0])
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address)
