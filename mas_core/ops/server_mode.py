"""Server mode of a project that runs: certificates where some are missing, and the server of its agents."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mas_core.errors import ConfigurationError, DeadlineExceeded, StoreFull, StoreUnreachable
from mas_core.ops.agent_servers import require_grpc
from mas_core.ops.certificate_facts import names_in
from mas_core.ops.certificates import issue, make_authority, rotate
from mas_core.ops.project_certificates import ProjectCertificates, text_of
from mas_core.ops.system import System
from mas_core.security.certificates import Holder
from mas_core.security.spiffe import read_certificate
from mas_core.server.place import free_port, host_and_port, place_of, unusable
from mas_core.settings.agent_spec import AgentSpec
from mas_core.settings.project_config import LoadedConfig
from mas_core.settings.server_choice import read_choice
from mas_core.settings.transport import (
    DEFAULT_ADDRESS,
    agent_tls,
    agents_url,
    is_secure,
    server_tls,
    transport_of,
    url_of,
    wants_server,
)

if TYPE_CHECKING:
    from mas_core.runner.service_process import ServiceProcess

LOOK_S = 0.05
_PASSING = frozenset({StoreUnreachable.code, StoreFull.code})
"""Failures of a server that another attempt may not meet."""


def address_for(loaded: LoadedConfig) -> tuple[str, str]:
    """Where the server of a project is about to listen, and the URL for its agents.

    Without a word in mas.yaml it is where it was the last time, at first 127.0.0.1:7443; another port while
    something else has that one.

    Raises:
        ConfigurationError: gRPC is not installed, or nobody can listen where mas.yaml says.
    """
    require_grpc()
    said = loaded.config.server_listen_addr
    host, port = host_and_port(said or read_choice(loaded.project).address or DEFAULT_ADDRESS)
    try:
        address = f"{host}:{free_port(host, port)}"
    except OSError as error:
        if said is not None:
            raise unusable(said, error.strerror or str(error)) from None
        address = f"{host}:{free_port(host, 0)}"
    return address, loaded.config.agents_url or url_of(address)


async def issue_missing(system: System, loaded: LoadedConfig, specs: Sequence[AgentSpec]) -> None:
    """Make the certificates that the server and these agents lack, and with `mas up --secure` an authority.

    Where mas.yaml names another authority nothing is made.

    Args:
        system: The system; the agents are registered.
        loaded: The configuration of its project.
        specs: Its agents.
    """
    if loaded.config.tls_ca_path is not None:
        return
    certificates = ProjectCertificates(loaded, specs)
    folder = certificates.folder
    if is_secure(loaded) and not (folder.authority_path.exists() or folder.authorities_path.exists()):
        await make_authority(system)
    if not (folder.authority_path.exists() and wants_server(loaded, specs)):
        return
    await _give_server(system, loaded, certificates)
    for spec in specs:
        holder = Holder("agent", spec.agent_id)
        if transport_of(spec, loaded) == "server" and not certificates.place_of(holder).certificate.exists():
            await issue(system, holder)


def require_certificates(loaded: LoadedConfig, specs: Sequence[AgentSpec]) -> None:
    """Make sure that whoever needs a certificate has one.

    Raises:
        ConfigurationError: Names who has none, and what to type.
    """
    authorities = server_tls(loaded).ca_path
    if not authorities.exists():
        raise ConfigurationError(
            f"there is no certificate authority in {authorities}, so a server would let nobody in",
            hint=("mas up --secure", "mas cert ca"),
        )
    if not server_tls(loaded).cert_path.exists():
        raise ConfigurationError(
            f"the server has no certificate in {server_tls(loaded).cert_path}",
            hint=("mas up --secure", "mas cert issue localhost --for server"),
        )
    missing = [
        spec.agent_id
        for spec in specs
        if transport_of(spec, loaded) == "server" and not agent_tls(spec, loaded).cert_path.exists()
    ]
    if missing:
        place = {spec.agent_id: agent_tls(spec, loaded).cert_path for spec in specs}[missing[0]]
        many = f" (and {len(missing) - 1} more have none)" if len(missing) > 1 else ""
        raise ConfigurationError(
            f"the agent {missing[0]} goes through the server, and has no certificate in {place}{many}",
            hint=("mas up --secure", f"mas cert issue {missing[0]}"),
            agents=missing,
        )


async def start_server(
    system: System, loaded: LoadedConfig, specs: Sequence[AgentSpec], service: ServiceProcess, deadline: float
) -> str:
    """Start the server of a project, and wait until agents can come; gives where it listens.

    Args:
        system: The system.
        loaded: The configuration of its project.
        specs: The agents that are about to come.
        service: The process, told to listen at `address_for`.
        deadline: By the monotonic clock.

    Raises:
        ConfigurationError: A certificate is missing or cannot be used, or the server cannot run.
        DeadlineExceeded: It did not listen in time.
    """
    require_certificates(loaded, specs)
    place_of(system.target).require_in_force()
    await service.start()
    while time.monotonic() < deadline:
        for server in await system.agent_servers():
            if server.pid == service.pid:
                return server.address
        failure = service.failure
        if failure is not None and failure.code not in _PASSING:
            raise ConfigurationError(
                f"the server of agents cannot run: {failure.reason}",
                hint=failure.hint or "tail .mas/logs/grpc.log",
            )
        await asyncio.sleep(LOOK_S)
    raise DeadlineExceeded("the server of agents did not start", hint="tail .mas/logs/grpc.log")


async def _give_server(system: System, loaded: LoadedConfig, certificates: ProjectCertificates) -> None:
    """A certificate for the server, and another one where agents would look for it under a name that it has not."""
    host = (urlsplit(agents_url(loaded)).hostname or "localhost").lower()
    others = tuple(dict.fromkeys(name for name in (host, "127.0.0.1", "::1") if name != "localhost"))
    holder = Holder("server", "localhost", others)
    place = certificates.place_of(holder)
    if not place.certificate.exists():
        await issue(system, holder)
        return
    found = read_certificate(text_of(place.certificate))
    if _as_name(host) not in names_in(found) and certificates.folder.knows(found):
        await rotate(system, holder, certificates=certificates, reason=f"agents look for it at {host}")


def _as_name(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"
