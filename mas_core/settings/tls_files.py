"""The files that prove who one is to a server, and whom one trusts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self


class _TlsFiles(NamedTuple):
    cert_path: Path
    """The certificate, followed by those between it and the authority."""
    key_path: Path
    """Its private key."""
    ca_path: Path
    """The authorities that the other side may come from."""


class TlsFiles(_TlsFiles):
    """Paths of PEM files.

    Args:
        cert_path: The certificate, followed by those between it and the authority.
        key_path: Its private key.
        ca_path: The authorities that the other side may come from.
    """

    __slots__ = ()

    def __new__(cls, cert_path: str | Path, key_path: str | Path, ca_path: str | Path) -> Self:
        """Take paths as people write them."""
        return super().__new__(cls, Path(cert_path), Path(key_path), Path(ca_path))


class _BearerFile(NamedTuple):
    token_path: Path
    """The bearer token; read anew for each connection."""
    ca_path: Path | None = None
    """The authorities that the proxy may come from; those of the system when left out."""


class BearerFile(_BearerFile):
    """Where an agent whose TLS a proxy ends has what says who it is.

    Args:
        token_path: The bearer token; read anew for each connection.
        ca_path: The authorities that the proxy may come from; those of the system when left out.
    """

    __slots__ = ()

    def __new__(cls, token_path: str | Path, ca_path: str | Path | None = None) -> Self:
        """Take paths as people write them."""
        return super().__new__(cls, Path(token_path), None if ca_path is None else Path(ca_path))
