"""Runs the server as a program: from the settings of a project to a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from mas_core.base.ids import check_agent_id, new_instance_id
from mas_core.base.logs import get_logger
from mas_core.errors import LockHeld, SecretUnavailable
from mas_core.model.agent_server_status import AgentServerStatus, live_agent_servers
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.server.handshakes import GrpcLog
from mas_core.server.heartbeat import Heartbeat
from mas_core.server.place import ServerPlace
from mas_core.server.service import DRAIN_S, Server
from mas_core.settings.target import Target
from mas_core.store.profiles import replicas_of
from mas_core.store.store import Store

log = get_logger(__name__)

Change = Literal["ready", "draining"]


async def serve(
    target: Target,
    place: ServerPlace,
    stop: asyncio.Event,
    *,
    server_id: str = "",
    grpc_log: GrpcLog | None = None,
    on_change: Callable[[Change, str], None] = lambda _change, _address: None,
    drain_s: float = DRAIN_S,
) -> None:
    """Run a server in front of a system until `stop` is set, then drain it.

    Args:
        target: The system; the keys of its gateways vouch for who may come in.
        place: Where it listens, and its certificate.
        stop: Ends it.
        server_id: Its name; made up when left out.
        grpc_log: Tells of handshakes that fail, so that they are recorded.
        on_change: Called with the address once agents can come, and when they are sent away.
        drain_s: Seconds that calls in hand are given.

    Raises:
        SecretUnavailable: The gateway's keys or the certificate's are not at hand.
        ConfigurationError: The address or the certificate cannot be used.
        LockHeld: A server of this name runs already.
        StoreUnreachable: The store does not answer.
    """
    keys, files = _keys(target), place.files
    place.require_in_force()
    # gRPC would take a port modulo 65536, and say of a taken one only that it failed.
    place.require_free()
    async with _store(target) as store:
        await _check_name(store, server_id)
        name = server_id or f"srv-{new_instance_id()[:8]}"
        async with Server(
            store,
            keys,
            files.current,
            place.address,
            place.trust_domain,
            target.tokens_dir,
            place.bearer_address,
        ) as server:
            if grpc_log is not None:
                grpc_log.follow(server.note_handshake)
            heartbeat = Heartbeat(name, server, files)
            async with heartbeat.beating(store.agent_servers):
                on_change("ready", server.address)
                await stop.wait()
                log.info("server.draining", address=server.address)
                heartbeat.is_draining = True
                on_change("draining", server.address)
                await server.stop(drain_s)
    log.info("server.stopped", address=server.address)


async def check(target: Target, place: ServerPlace, *, server_id: str = "") -> list[AgentServerStatus]:
    """Find out whether `serve` would have what it needs, and change nothing.

    Returns:
        The servers that run already.

    Raises:
        SecretUnavailable, ConfigurationError, LockHeld, StoreUnreachable: As by `serve`.
    """
    _keys(target)
    place.require_in_force()
    place.require_free()
    async with _store(target) as store:
        return await _check_name(store, server_id)


def _keys(target: Target) -> GatewayKeys:
    if target.keys_dir is None:
        raise SecretUnavailable(
            "a server needs the gateway's keys, and no folder of keys is known for this system",
            hint=("run it in the project folder", "mas context add NAME --keys-dir DIR"),
        )
    return GatewayKeys.load(target.keys_dir)


def _store(target: Target) -> Store:
    return Store(
        target.url_as("front"),
        namespace=target.namespace,
        partitions=target.partitions,
        replicas=replicas_of(target.profile),
    )


async def _check_name(store: Store, server_id: str) -> list[AgentServerStatus]:
    now, heartbeats = await store.agent_servers.all()
    running = live_agent_servers(heartbeats, now)
    if server_id:
        check_agent_id(server_id)
    if any(item.server_id == server_id for item in running):
        raise LockHeld(f"a server named {server_id} is running already", hint="mas server status")
    return running
