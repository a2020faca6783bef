"""Where agents with bearer tokens come in: on this machine only, as a proxy beside the server has ended TLS."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

import grpc.aio

from mas_core.errors import ConfigurationError

UNIX: Final = "unix:"


def listen_for_bearers(server: grpc.aio.Server, address: str) -> str:
    """Have a server listen without TLS.

    Args:
        server: It; not started yet.
        address: host:port with a loopback address, or unix:PATH.

    Returns:
        The address, with the port that was taken where it was 0.

    Raises:
        ConfigurationError: Others than this machine could come there.
        RuntimeError: It is taken.
    """
    if not is_local(address):
        raise ConfigurationError(
            f"{address} is open to other machines, and bearer tokens come without TLS",
            hint=("server_bearer_addr: 127.0.0.1:7444", "server_bearer_addr: unix:/run/mas/bearer.sock"),
        )
    port = server.add_insecure_port(address)
    if not address.startswith(UNIX):
        return f"{address.rpartition(':')[0]}:{port}"
    Path(address.removeprefix(UNIX)).chmod(0o600)
    return address


def is_local(address: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    if address.startswith(UNIX):
        return Path(address.removeprefix(UNIX)).is_absolute()
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
