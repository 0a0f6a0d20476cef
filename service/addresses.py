"""HOST:PORT as settings and clients write it, and whether it leaves this machine."""

from ipaddress import ip_address
from typing import Final

MAX_PORT: Final = 65_535


def check_address(value: str) -> str:
    """Refuse what gRPC would read in a way of its own: it takes port 65537 for port 1.

    Raises:
        ValueError: Not HOST:PORT.
    """
    host, _, port = value.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > MAX_PORT:
        raise ValueError(f"'{value}' is not HOST:PORT with a port from 0 to {MAX_PORT}")
    return value


def split_address(value: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port of a checked address."""
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach HOST:PORT; other names than `localhost` count as not."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
