"""Where a server listens, who it is, and whether it could; known without gRPC."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from mas_core.errors import ConfigurationError
from mas_core.security.certificate_files import CertificateFiles
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.settings.tls_files import TlsFiles
from mas_core.settings.transport import DEFAULT_ADDRESS, server_tls

MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where a server listens, and who it is."""

    address: str
    tls: TlsFiles
    trust_domain: str
    bearer_address: str | None = None
    """Where a proxy brings agents with bearer tokens."""

    @property
    def files(self) -> CertificateFiles:
        """Its certificate, and whom it trusts, as they are on the disk."""
        return CertificateFiles(self.tls.cert_path, self.tls.key_path, self.tls.ca_path)

    def require_in_force(self) -> None:
        """Refuse a certificate that no agent would take.

        Raises:
            ConfigurationError: It has ended or not begun, or its files cannot be used.
            SecretUnavailable: Its key is not there, or others can read it.
        """
        certificate, now = self.files.current().certificate, datetime.now(UTC)
        if now >= certificate.not_valid_after_utc:
            problem = f"ended at {certificate.not_valid_after_utc.isoformat()}"
        elif now < certificate.not_valid_before_utc:
            problem = f"counts from {certificate.not_valid_before_utc.isoformat()} on"
        else:
            return
        raise ConfigurationError(
            f"the server's certificate in {self.tls.cert_path} {problem}",
            hint=("mas cert rotate localhost --for server", f"mas cert inspect {self.tls.cert_path}"),
        )

    def require_free(self) -> int:
        """Make sure that somebody can listen there; gives the port, any free one where it is 0.

        Raises:
            ConfigurationError: Nobody can.
        """
        host, port = host_and_port(self.address)
        try:
            return free_port(host, port)
        except OSError as error:
            raise unusable(self.address, error.strerror or str(error)) from None


def place_of(target: Target, address: str = "") -> ServerPlace:
    """Where the settings of the project say that its server listens, 127.0.0.1:7443 when they do not.

    Args:
        target: The project's system.
        address: host:port instead of that of the settings.

    Raises:
        ConfigurationError: There is no project, or no certificate where it should be.
    """
    if target.project is None:
        raise ConfigurationError("a server needs the settings of a project", hint=("mas init", "cd PROJECT"))
    loaded = load_config(target.project)
    tls = server_tls(loaded)
    if not tls.ca_path.exists():
        raise ConfigurationError(
            f"there is no certificate authority in {tls.ca_path}, so a server would let nobody in",
            hint=("mas up --secure", "mas cert ca"),
        )
    if not tls.cert_path.exists():
        raise ConfigurationError(
            f"the server has no certificate in {tls.cert_path}",
            hint=("mas up --secure", "mas cert issue localhost --for server"),
        )
    config = loaded.config
    return ServerPlace(
        address or config.server_listen_addr or DEFAULT_ADDRESS,
        tls,
        config.trust_domain,
        config.server_bearer_addr,
    )


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of HOST:PORT.

    Raises:
        ConfigurationError: It is written otherwise, or there is no such port.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port:
        raise unusable(address, "the port is missing; write HOST:PORT")
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= MAX_PORT):
        raise unusable(address, f"{port!r} is no port; write HOST:PORT with 1 to {MAX_PORT}, or 0 for any")
    return host, int(port)


def unusable(address: str, reason: str) -> ConfigurationError:
    """What to say where nobody can listen."""
    return ConfigurationError(
        f"nothing can listen at {address}: {reason}",
        hint=("mas server status", "mas config get server_listen_addr"),
    )


def free_port(host: str, port: int) -> int:
    """The port that somebody could listen at now, any free one for 0.

    Raises:
        OSError: Nobody can listen there.
    """
    (family, kind, _, _, place), *_ = socket.getaddrinfo(
        host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        return int(probe.getsockname()[1])
