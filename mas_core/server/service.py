"""`Server`: the gRPC server in front of a system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError
from mas_core.registry.security_notices import SecurityNotices
from mas_core.security.certificate_files import Credentials
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.server.admission import Admission
from mas_core.server.agents_service import NAME as AGENTS
from mas_core.server.agents_service import AgentsService
from mas_core.server.bearer_listener import listen_for_bearers
from mas_core.server.callers import Door
from mas_core.server.frames_service import NAME as FRAMES
from mas_core.server.frames_service import FramesService
from mas_core.server.handshakes import FailedHandshake
from mas_core.store.store import Store

log = get_logger(__name__)

MAX_CALL_BYTES: Final = 4 << 20
DRAIN_S: Final = 5.0

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_CALL_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", 128),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # So this gRPC calls GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS; it is 5 minutes unless set.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
)


class Server:
    """Serves one system to agents under mutual TLS.

    Args:
        store: The system's; the server does not close it.
        keys: Vouch for registrations, policy and notices.
        credentials: Gives the server's certificate and the authorities that agents come from; asked again at each
            handshake, so that renewed files count without a restart.
        address: host:port to listen at; port 0 for any.
        trust_domain: Of the agents' SPIFFE IDs.
        tokens_dir: Where the project keeps the tokens of agents that leave sealing to the server.
        bearer_address: host:port of this machine or unix:PATH, where a proxy that ends TLS brings agents with
            bearer tokens; None takes no such tokens.
    """

    def __init__(
        self,
        store: Store,
        keys: GatewayKeys,
        credentials: Callable[[], Credentials],
        address: str,
        trust_domain: str,
        tokens_dir: Path | None = None,
        bearer_address: str | None = None,
    ) -> None:
        self._credentials = credentials
        self.bearer_address = bearer_address
        """Where a proxy brings agents with bearer tokens."""
        self.address = address
        """Where it listens: host:port."""
        self.notices = SecurityNotices(store.records, keys, "server")
        """Where refusals are recorded."""
        self._admission = Admission(store, keys, trust_domain, self.notices)
        self._door = Door(self._admission, takes_bearers=bearer_address is not None)
        self._frames = FramesService(store, self._door, self.notices)
        self._agents = AgentsService(store, self._door, tokens_dir)
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self.port = 0
        """The port that it listens at."""
        self._noting: set[asyncio.Task[None]] = set()
        self._failed_handshakes = 0

    @property
    def connected(self) -> list[str]:
        """Ids of the agents that are connected, once for each of their conversations."""
        return self._admission.connected

    @property
    def refused(self) -> int:
        """How many were not let in, or had to leave."""
        return self._failed_handshakes + self._admission.refused

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address or the certificate cannot be used.
            StoreUnreachable: The store does not answer.
        """
        await self._admission.start()
        shown = self._credentials()
        server = self._server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((self._frames.handlers(), self._agents.handlers()))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        services = (FRAMES, AGENTS, health.SERVICE_NAME)
        reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server)
        try:
            self.port = server.add_secure_port(self.address, self._server_credentials(shown))
            self.address = f"{self.address.rpartition(':')[0]}:{self.port}"
            if self.bearer_address is not None:
                self.bearer_address = listen_for_bearers(server, self.bearer_address)
        except RuntimeError as error:
            raise ConfigurationError(
                f"nothing can listen at {self.address}: another program may have taken it just now",
                hint=("mas server status", "mas config get server_listen_addr"),
            ) from error
        await server.start()
        for service in ("", *services):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        log.info("server.ready", address=self.address, bearer_address=self.bearer_address or "")

    async def stop(self, grace_s: float = DRAIN_S) -> None:
        """Take no more calls, tell everybody to go elsewhere, and end.

        Args:
            grace_s: Seconds that calls in hand are given.
        """
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            self._door.close()
            await self._server.stop(grace_s)
            self._server = None
        await self._agents.close()
        await self._admission.stop()
        await self.notices.close()

    def note_handshake(self, failed: FailedHandshake) -> None:
        """Have it recorded that somebody was not let in at the handshake."""
        self._failed_handshakes += 1
        log.warning("handshake.refused", reason=failed.reason, text=failed.text)
        facts = {"reason": failed.reason, "text": failed.text}
        task = asyncio.get_running_loop().create_task(
            self.notices.record("handshake.refused", "", facts, reason=f"the handshake failed: {failed.text}")
        )
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    def _server_credentials(self, shown: Credentials) -> grpc.ServerCredentials:
        configured = shown

        def configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
            return grpc.ssl_server_certificate_configuration(
                [(credentials.key, credentials.chain)], credentials.authorities
            )

        def look() -> grpc.ServerCertificateConfiguration | None:
            nonlocal configured
            found = self._credentials()
            if found is configured:
                return None
            configured = found
            return configuration(found)

        return grpc.dynamic_ssl_server_credentials(
            configuration(shown),
            look,  # type: ignore[arg-type]  # None says that nothing has changed
            require_client_authentication=True,
        )

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
