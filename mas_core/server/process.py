"""Runs the server as a program: from the settings of a project to a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.security.certificate_files import CertificateFiles
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.server.handshakes import GrpcLog
from mas_core.server.service import DRAIN_S, Server
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.settings.tls_files import TlsFiles
from mas_core.store.profiles import replicas_of
from mas_core.store.store import Store

log = get_logger(__name__)

DEFAULT_ADDRESS: Final = "127.0.0.1:7443"

Change = Literal["ready", "draining"]


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """Where a server listens, and who it is."""

    address: str
    tls: TlsFiles
    trust_domain: str


async def serve(
    target: Target,
    place: ServerPlace,
    stop: asyncio.Event,
    *,
    grpc_log: GrpcLog | None = None,
    on_change: Callable[[Change, str], None] = lambda _change, _address: None,
    drain_s: float = DRAIN_S,
) -> None:
    """Run a server in front of a system until `stop` is set, then drain it.

    Args:
        target: The system; the keys of its gateways vouch for who may come in.
        place: Where it listens, and its certificate.
        stop: Ends it.
        grpc_log: Tells of handshakes that fail, so that they are recorded.
        on_change: Called with the address once agents can come, and when they are sent away.
        drain_s: Seconds that calls in hand are given.

    Raises:
        SecretUnavailable: The gateway's keys or the certificate's are not at hand.
        ConfigurationError: The address or the certificate cannot be used.
        StoreUnreachable: The store does not answer.
    """
    if target.keys_dir is None:
        raise SecretUnavailable(
            "a server needs the gateway's keys, and no folder of keys is known for this system",
            hint=("run it in the project folder", "mas context add NAME --keys-dir DIR"),
        )
    keys = GatewayKeys.load(target.keys_dir)
    files = CertificateFiles(place.tls.cert_path, place.tls.key_path, place.tls.ca_path)
    async with (
        Store(
            target.url,
            namespace=target.namespace,
            partitions=target.partitions,
            replicas=replicas_of(target.profile),
        ) as store,
        Server(store, keys, files.current, place.address, place.trust_domain) as server,
    ):
        if grpc_log is not None:
            grpc_log.follow(server.note_handshake)
        on_change("ready", server.address)
        await stop.wait()
        log.info("server.draining", address=server.address)
        on_change("draining", server.address)
        await server.stop(drain_s)
    log.info("server.stopped", address=server.address)


def place_of(target: Target, address: str = "") -> ServerPlace:
    """Where the settings of the project say that its server listens.

    Args:
        target: The project's system.
        address: host:port instead of that of the settings.

    Raises:
        ConfigurationError: There is no project, or it names no certificate.
    """
    if target.project is None:
        raise ConfigurationError("a server needs the settings of a project", hint=("mas init", "cd PROJECT"))
    config = load_config(target.project).config
    paths = {
        "tls_server_cert_path": config.tls_server_cert_path,
        "tls_server_key_path": config.tls_server_key_path,
        "tls_ca_path": config.tls_ca_path,
    }
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        raise ConfigurationError(
            f"{target.project.config_path} does not set {' and '.join(missing)}",
            hint=("mas cert ca", "mas cert issue --server localhost"),
        )
    cert, key, authorities = (Path(str(path)) for path in paths.values())
    return ServerPlace(
        address or config.server_listen_addr or DEFAULT_ADDRESS,
        TlsFiles(cert, key, authorities),
        config.trust_domain,
    )
