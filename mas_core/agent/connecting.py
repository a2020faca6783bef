"""Where an agent connects to, and with which token: a store, a server in front of it, or its own process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from mas_core.errors import CertificateRefused, ConfigurationError, SecretUnavailable
from mas_core.gateway.in_process import InProcessGateway
from mas_core.security.certificate_files import CertificateFiles, read_authorities
from mas_core.security.certificates import pem_of
from mas_core.security.spiffe import check_in_force, check_use
from mas_core.settings import certificate_paths
from mas_core.settings.private_files import read_private, read_token
from mas_core.settings.project import Project, find_project
from mas_core.settings.project_config import load_config
from mas_core.settings.secrets import is_reference, resolve
from mas_core.settings.server_logins import agent_login_path, has_login, read_login, url_for
from mas_core.settings.target import resolve_target
from mas_core.settings.tls_files import BearerFile, TlsFiles
from mas_core.store.contract import AgentSide
from mas_core.store.store import Store


class Host(Protocol):
    """Has a store for the agents of this process, and knows their tokens."""

    @property
    def store(self) -> AgentSide:
        """The store; agents do not close it."""

    async def admit(self, agent_id: str) -> str:
        """The token of an agent."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What an agent has once it is connected."""

    store: AgentSide
    token: str
    host: Host | None = None
    """To whom the store belongs, if it is in this process."""
    tokens_dir: Path | None = None
    """Where keys of the agent may lie beside its token."""


async def connect(
    agent_id: str,
    url: str | None,
    token: str | None,
    host: Host | None,
    *,
    namespace: str | None = None,
    partitions: int | None = None,
    tls: TlsFiles | None = None,
    bearer: BearerFile | None = None,
) -> Connected:
    """Open the store, and find the token or have one made.

    Where the agent has a user of the server of its own, its login lies beside the token and is used, unless the URL
    names a user.

    Args:
        agent_id: Who connects.
        url: The server; the project's when left out. `memory://` is a gateway in this process, `grpcs://` a server
            that speaks for the store.
        token: The agent's, or a reference to it; the one in the project's token file when left out.
        host: What is used instead in this process, such as a gateway.
        namespace: The project's when left out.
        partitions: The project's when left out.
        tls: Who the agent is to a server that speaks for the store; its files in the project when left out.
        bearer: The same where a proxy ends TLS before that server.

    Raises:
        SecretUnavailable: There is no token at hand, or a reference leads nowhere, or a certificate is missing.
        ConfigurationError: The certificate cannot be used, or is another agent's.
        CertificateRefused: The certificate has ended, has not begun, or is not for clients.
        StoreUnreachable, Unauthenticated: The server does not answer, or does not take the agent.
    """
    if token is not None and is_reference(token):
        # It may come from a program or a vault.
        token = (await asyncio.to_thread(resolve, token, Path.cwd())).get_secret_value().strip()
    if host is None and (url or "").startswith("memory:"):
        host = await InProcessGateway.in_memory(str(url))
    if host is not None:
        return Connected(host.store, token or await host.admit(agent_id), host)
    if is_server_url(url):
        return await _connect_to_server(agent_id, str(url), token, tls, bearer)
    target = await asyncio.to_thread(resolve_target, url=url)
    if token is None:
        if target.tokens_dir is None:
            raise SecretUnavailable(
                f"there is no token for {agent_id}",
                hint=(f"Agent('{agent_id}', token=...)", f"mas agent register {agent_id}"),
            )
        token = await asyncio.to_thread(read_token, target.tokens_dir, agent_id)
    own = None
    if target.tokens_dir is not None:
        own = await asyncio.to_thread(read_login, agent_login_path(target.tokens_dir, agent_id))
    store = Store(
        target.url if url is not None and has_login(url) else url_for(target.url, own),
        namespace=namespace or target.namespace,
        partitions=partitions or target.partitions,
    )
    return Connected(store, token, tokens_dir=target.tokens_dir)


def is_server_url(url: str | None) -> bool:
    """Whether a URL leads to a server that speaks for the store."""
    return (url or "").startswith("grpcs:")


async def _connect_to_server(
    agent_id: str, url: str, token: str | None, tls: TlsFiles | None, bearer: BearerFile | None
) -> Connected:
    project = await asyncio.to_thread(find_project)
    if tls is None and bearer is None:
        tls = None if project is None else await asyncio.to_thread(_certificate_in, project, agent_id)
    if tls is None and bearer is None:
        raise SecretUnavailable(
            f"{agent_id} has no certificate, and a server takes nobody without",
            hint=(f"mas cert issue {agent_id}", f"Agent('{agent_id}', tls=TlsFiles(cert, key, ca))"),
        )
    if token is None and project is not None:
        token = await asyncio.to_thread(read_token, project.tokens_dir, agent_id)
    if token is None:
        raise SecretUnavailable(
            f"there is no token for {agent_id}",
            hint=(f"Agent('{agent_id}', token=...)", f"mas agent register {agent_id}"),
        )
    try:
        # gRPC is an extra, and takes long to load.
        from mas_core.remote.system import RemoteSystem  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            "agents behind a server need gRPC, which is not installed", hint="pip install 'mas[grpc]'"
        ) from None
    shown = None if bearer is None else functools.partial(_bearer_in, bearer.token_path)
    return Connected(
        await RemoteSystem.open(url, agent_id, _credentials(agent_id, tls, bearer), shown), token
    )


def _certificate_in(project: Project, agent_id: str) -> TlsFiles | None:
    """Where a project keeps the certificate of an agent; None if it has none."""
    folder = certificate_paths.certificates_dir(project.root)
    path = certificate_paths.agent_certificate(folder, agent_id)
    if not path.exists():
        return None
    authorities = load_config(project).config.tls_ca_path or certificate_paths.authorities(folder)
    return TlsFiles(path, path, authorities)


def _credentials(
    agent_id: str, tls: TlsFiles | None, bearer: BearerFile | None
) -> Callable[[], tuple[bytes, bytes, bytes]]:
    """What gives certificate, key and authorities as they stand in files now; none of the three without files.

    A certificate that no server takes is never shown: TLS would not say why the connection ends.
    """
    if tls is None:
        ca_path = bearer.ca_path if bearer is not None else None
        return lambda: (b"", b"", pem_of(read_authorities(ca_path)) if ca_path is not None else b"")
    files = CertificateFiles(tls.cert_path, tls.key_path, tls.ca_path)

    def credentials() -> tuple[bytes, bytes, bytes]:
        try:
            found = files.current()
        except SecretUnavailable as error:
            hint = error.hint or (f"mas cert issue {agent_id}", "mas up --secure")
            raise SecretUnavailable(error.message, hint=hint, **error.details) from None
        try:
            check_in_force(found.certificate, now=datetime.now(UTC))
            check_use(found.certificate)
        except CertificateRefused as error:
            raise CertificateRefused(
                f"{error.message} ({tls.cert_path})",
                hint=(f"mas cert issue {agent_id}", f"mas cert inspect {tls.cert_path}"),
                **error.details,
            ) from None
        return found.chain, found.key, found.authorities

    return credentials


def _bearer_in(path: Path) -> str:
    return read_private(path).decode("ascii", errors="replace").strip()
