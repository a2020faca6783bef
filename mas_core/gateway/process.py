"""Runs a gateway as a program: from its settings to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from mas_core.audit.payload_keys import FOLDER_NAME
from mas_core.base.logs import get_logger
from mas_core.errors import DeadlineExceeded, LockHeld, SecretUnavailable
from mas_core.gateway.service import DRAIN_SECONDS, Gateway
from mas_core.model.gateway_status import GatewayStatus, live_gateways
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.store.profiles import replicas_of, require_profile, server_facts, shortfalls
from mas_core.store.store import Store

log = get_logger(__name__)

START_SECONDS = 60.0

Change = Literal["ready", "draining"]


async def serve(
    target: Target,
    stop: asyncio.Event,
    *,
    gateway_id: str = "",
    on_change: Callable[[Change, str], None] = lambda _change, _gateway_id: None,
    ready_within: float = START_SECONDS,
    force: bool = False,
    drain_s: float = DRAIN_SECONDS,
) -> bool:
    """Run a gateway of the system until `stop` is set, then drain it.

    Args:
        target: The system; its folder of keys is needed, and filled when it is empty.
        stop: Ends the gateway.
        gateway_id: Its name; made up when left out.
        on_change: Called with the name once messages are taken, and when it drains.
        ready_within: Seconds until every partition has to have an owner.
        force: Go on although the server cannot keep what the system's profile promises.
        drain_s: Seconds until what is still in hand is left to the other gateways.

    Returns:
        Whether everything in hand was finished.

    Raises:
        ProfileUnmet: It cannot.
        SecretUnavailable: There is no folder of keys.
        LockHeld: A gateway of this name runs already.
        StoreUnreachable: The server does not answer.
        DeadlineExceeded: Not every partition had an owner in time.
    """
    keys_dir = _keys_dir(target)
    settings = _settings(target)
    keys = GatewayKeys.load_or_create(keys_dir)
    is_drained = True
    async with _store(target) as store:
        await _check_profile(store, target.profile, force=force)
        await _check_name(store, gateway_id)
        gateway = Gateway(
            store,
            keys,
            settings,
            gateway_id=gateway_id,
            payload_keys=keys_dir / FOLDER_NAME,
        )
        try:
            if not await _started(gateway, ready_within, stop):
                return is_drained
            log.info("gateway.ready", gateway=gateway.gateway_id)
            on_change("ready", gateway.gateway_id)
            await stop.wait()
            log.info("gateway.draining", gateway=gateway.gateway_id)
            on_change("draining", gateway.gateway_id)
        finally:
            is_drained = await gateway.stop(drain_s)
        log.info("gateway.stopped", gateway=gateway.gateway_id)
    return is_drained


async def check(target: Target, *, gateway_id: str = "", force: bool = False) -> list[GatewayStatus]:
    """Find out whether `serve` would have what it needs, and change nothing.

    Returns:
        The gateways that run already.

    Raises:
        ConfigurationError, SpecInvalid: The settings or keys cannot be used.
        ProfileUnmet, SecretUnavailable, LockHeld, StoreUnreachable: As by `serve`.
    """
    keys_dir = _keys_dir(target)
    _settings(target)
    # Where there are none, the first gateway makes some.
    with contextlib.suppress(SecretUnavailable):
        GatewayKeys.load(keys_dir)
    async with _store(target) as store:
        await _check_profile(store, target.profile, force=force)
        return await _check_name(store, gateway_id)


def _keys_dir(target: Target) -> Path:
    if target.keys_dir is None:
        raise SecretUnavailable(
            "a gateway needs its keys, and no folder of keys is known for this system",
            hint=("run it in the project folder", "mas context add NAME --keys-dir DIR"),
        )
    return target.keys_dir


def _settings(target: Target) -> GatewaySettings:
    return load_config(target.project).config.gateway if target.project else GatewaySettings()


def _store(target: Target) -> Store:
    return Store(
        target.url_as("gateway"),
        namespace=target.namespace,
        partitions=target.partitions,
        replicas=replicas_of(target.profile),
    )


async def _check_name(store: Store, gateway_id: str) -> list[GatewayStatus]:
    now = await store.connection.time_ms()
    running = live_gateways(await store.gateways.heartbeats(), now)
    if gateway_id and any(gateway.gateway_id == gateway_id for gateway in running):
        raise LockHeld(f"a gateway named {gateway_id} is running already", hint="mas gateway status")
    return running


async def _check_profile(store: Store, profile: str, *, force: bool) -> None:
    if not force:
        await require_profile(store.connection, profile)
        return
    for found in shortfalls(profile, await server_facts(store.connection)):
        log.warning("profile.unmet", profile=profile, reason=found.message, hint=found.fix)


async def _started(gateway: Gateway, seconds: float, stop: asyncio.Event) -> bool:
    """Start a gateway; whether it is ready, which it is not when it is to end before."""
    starting, stopping = asyncio.create_task(gateway.start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        if stop.is_set():
            return False
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.wait((starting, stopping))
    raise DeadlineExceeded(
        f"not every partition had an owner within {seconds:g} s", hint="mas gateway status"
    )
