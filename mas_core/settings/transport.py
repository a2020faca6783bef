"""How the agents of a project reach the system: straight to the store, or through a server under mutual TLS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from mas_core.settings import certificate_paths
from mas_core.settings.running_context import read_running
from mas_core.settings.tls_files import TlsFiles

if TYPE_CHECKING:
    from mas_core.settings.agent_spec import AgentSpec
    from mas_core.settings.project import Project
    from mas_core.settings.project_config import LoadedConfig

Transport: TypeAlias = Literal["direct", "server"]

DEFAULT_ADDRESS: Final = "127.0.0.1:7443"
"""Where a server listens unless something else is said."""

_EVERYWHERE = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - what people write for all addresses
_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


def transport_of(spec: AgentSpec, loaded: LoadedConfig) -> Transport:
    """How one agent goes: as its spec or the project says, else through a server if it has a certificate."""
    if said := spec.transport or loaded.config.transport:
        return said
    return "server" if spec.tls_cert_path or is_secure(loaded) else "direct"


def is_secure(loaded: LoadedConfig) -> bool:
    """Whether the project runs by `mas up --secure`."""
    running = read_running(loaded.project)
    return running is not None and running.secure


def has_authority(project: Project) -> bool:
    """Whether the project has an authority of its own, which certifies its agents."""
    return certificate_paths.authority(certificate_paths.certificates_dir(project.root)).exists()


def wants_server(loaded: LoadedConfig, specs: Iterable[AgentSpec]) -> bool:
    """Whether a server should run: the project names its address, an agent needs it, or `mas up` runs one."""
    if loaded.config.server_listen_addr is not None:
        return True
    if any(transport_of(spec, loaded) == "server" for spec in specs):
        return True
    running = read_running(loaded.project)
    return running is not None and bool(running.agents_url)


def agents_url(loaded: LoadedConfig) -> str:
    """Where agents find the server: `agents_url` of mas.yaml, else where it runs, else where it should listen."""
    if loaded.config.agents_url is not None:
        return loaded.config.agents_url
    running = read_running(loaded.project)
    if running is not None and running.agents_url:
        return running.agents_url
    return url_of(loaded.config.server_listen_addr or DEFAULT_ADDRESS)


def url_of(address: str) -> str:
    """The URL of a server that listens at host:port, as seen from the same machine."""
    host, _, port = address.rpartition(":")
    return f"grpcs://{'localhost' if host.strip('[]') in _EVERYWHERE | _HERE else host}:{port}"


def served(spec: AgentSpec, loaded: LoadedConfig) -> tuple[str, TlsFiles] | None:
    """Where an agent finds the server that it goes through, and its certificate; None for one that goes direct."""
    if transport_of(spec, loaded) == "direct":
        return None
    return agents_url(loaded), agent_tls(spec, loaded)


def agent_tls(spec: AgentSpec, loaded: LoadedConfig) -> TlsFiles:
    """The files that prove who an agent is; they need not be there."""
    folder = certificate_paths.certificates_dir(loaded.project.root)
    certificate = spec.tls_cert_path or certificate_paths.agent_certificate(folder, spec.agent_id)
    return TlsFiles(
        certificate,
        spec.tls_key_path or certificate,
        loaded.config.tls_ca_path or certificate_paths.authorities(folder),
    )


def server_tls(loaded: LoadedConfig) -> TlsFiles:
    """The files of the server's certificate, and whom it trusts; they need not be there."""
    folder = certificate_paths.certificates_dir(loaded.project.root)
    certificate = loaded.config.tls_server_cert_path or certificate_paths.server_certificate(folder)
    return TlsFiles(
        certificate,
        loaded.config.tls_server_key_path or certificate,
        loaded.config.tls_ca_path or certificate_paths.authorities(folder),
    )
