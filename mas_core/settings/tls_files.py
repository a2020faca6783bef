"""The files that prove who one is to a server, and whom one trusts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class TlsFiles(NamedTuple):
    """Paths of PEM files."""

    cert_path: Path
    """The certificate, followed by those between it and the authority."""
    key_path: Path
    """Its private key."""
    ca_path: Path
    """The authorities that the other side may come from."""


class BearerFile(NamedTuple):
    """Where an agent whose TLS a proxy ends has what says who it is."""

    token_path: Path
    """The bearer token; read anew for each connection."""
    ca_path: Path | None = None
    """The authorities that the proxy may come from; those of the system when left out."""
