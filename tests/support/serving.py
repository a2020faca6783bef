"""A server in front of a system of a test, and certificates for whoever comes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mas_core.ops.system import System
from mas_core.security.certificate_files import CertificateFiles, write_pair
from mas_core.security.certificates import Authority, Holder, key_pem, new_key, pem_of
from mas_core.server.service import Server
from mas_core.settings.tls_files import TlsFiles
from mas_core.store.store import Store

TRUST_DOMAIN = "mas"


@dataclass
class Certificates:
    """An authority in a folder, and what it has issued."""

    folder: Path
    authority: Authority

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """A new authority."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = Authority.create(TRUST_DOMAIN, now=datetime.now(UTC))
        (folder / "ca.pem").write_bytes(pem_of([authority.certificate]))
        return cls(folder, authority)

    @property
    def ca_path(self) -> Path:
        """The certificate of the authority."""
        return self.folder / "ca.pem"

    def issue(self, kind: Any, name: str, hosts: tuple[str, ...] = (), **options: Any) -> TlsFiles:
        """The files of a new certificate; they replace older ones of the same holder."""
        key = new_key()
        holder = Holder(kind, name, hosts)
        options.setdefault("now", datetime.now(UTC))
        certificate = self.authority.issue(holder, key.public_key(), **options)
        path = self.folder / f"{kind}-{name}.pem"
        write_pair(pem_of([certificate]), key_pem(key), path)
        return TlsFiles(path, path, self.ca_path)

    def agent(self, agent_id: str) -> TlsFiles:
        """The files of an agent; made when it is asked for first."""
        path = self.folder / f"agent-{agent_id}.pem"
        return TlsFiles(path, path, self.ca_path) if path.exists() else self.issue("agent", agent_id)


@dataclass
class Serving:
    """A server that runs."""

    server: Server
    certificates: Certificates

    @property
    def url(self) -> str:
        """Where agents find it."""
        return f"grpcs://localhost:{self.server.port}"


@asynccontextmanager
async def serving(
    system: System, folder: Path, port: int = 0, *, store: Store | None = None, **options: Any
) -> AsyncIterator[Serving]:
    """A server in front of a system, with an authority of its own; it may come to the store as another user."""
    certificates = Certificates.make(folder)
    shown = certificates.issue("server", "localhost", ("127.0.0.1",))
    files = CertificateFiles(shown.cert_path, shown.key_path, shown.ca_path)
    async with Server(
        store or system.store,
        system.keys,
        files.current,
        f"127.0.0.1:{port}",
        TRUST_DOMAIN,
        folder.parent / ".mas" / "tokens",
        **options,
    ) as server:
        yield Serving(server, certificates)
