"""Where the certificates of a project lie in `.mas/certs` unless a setting or a spec names other files.

A certificate and its key share one file, so that a new pair comes with one rename and nobody ever reads half of
it: readers of PEM pass over what they do not look for.
"""

from __future__ import annotations

from pathlib import Path

from mas_core.base.ids import check_agent_id


def certificates_dir(root: Path) -> Path:
    """The folder of the certificates of the project in `root`, which need not be there."""
    return root / ".mas" / "certs"


def agent_certificate(certs_dir: Path, agent_id: str) -> Path:
    """The file of an agent's certificate and key.

    Raises:
        InvalidIdentifier: No agent can have this id.
    """
    return certs_dir / "agents" / f"{check_agent_id(agent_id)}.pem"


def operator_certificate(certs_dir: Path, name: str) -> Path:
    """The file of an operator's certificate and key."""
    return certs_dir / "operators" / f"{name}.pem"


def server_certificate(certs_dir: Path) -> Path:
    """The file of the server's certificate and key."""
    return certs_dir / "server.pem"


def authorities(certs_dir: Path) -> Path:
    """The certificates of the authorities that are trusted: the project's own, and those before it."""
    return certs_dir / "authorities.pem"


def authority(certs_dir: Path) -> Path:
    """The file of the certificate and the key of the project's own authority."""
    return certs_dir / "ca" / "authority.pem"


def issued_dir(certs_dir: Path) -> Path:
    """The folder of what the authority has issued."""
    return certs_dir / "ca" / "issued"
