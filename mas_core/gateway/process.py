"""Runs a gateway as a program: from its settings to a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mas_core.base.logs import get_logger
from mas_core.errors import LockHeld, SecretUnavailable
from mas_core.gateway.service import Gateway, live_gateways
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target
from mas_core.store.store import Store

log = get_logger(__name__)

REPLICAS_OF_PROFILE = {"ha": 1}


async def serve(
    target: Target,
    stop: asyncio.Event,
    *,
    gateway_id: str = "",
    on_ready: Callable[[str], None] = lambda _gateway_id: None,
) -> None:
    """Run a gateway of the system until `stop` is set, then drain it.

    Args:
        target: The system; its folder of keys is needed, and filled when it is empty.
        stop: Ends the gateway.
        gateway_id: Its name; made up when left out.
        on_ready: Called with the name once messages are taken.

    Raises:
        SecretUnavailable: There is no folder of keys.
        LockHeld: A gateway of this name runs already.
        StoreUnreachable: The server does not answer.
    """
    if target.keys_dir is None:
        raise SecretUnavailable(
            "a gateway needs its keys, and no folder of keys is known for this system",
            hint=("run it in the project folder", "mas context add NAME --keys DIR"),
        )
    settings = load_config(target.project).config.gateway if target.project else GatewaySettings()
    keys = GatewayKeys.load_or_create(target.keys_dir)
    async with Store(target.url, namespace=target.namespace, partitions=target.partitions) as store:
        now = await store.connection.time_ms()
        running = live_gateways(await store.records.gateways(), now)
        if gateway_id and any(gateway.gateway_id == gateway_id for gateway in running):
            raise LockHeld(f"a gateway named {gateway_id} is running already", hint="mas gateway status")
        gateway = Gateway(
            store,
            keys,
            settings,
            gateway_id=gateway_id,
            replicas=REPLICAS_OF_PROFILE.get(target.profile, 0),
        )
        async with gateway:
            log.info("gateway.ready", gateway=gateway.gateway_id)
            on_ready(gateway.gateway_id)
            await stop.wait()
            log.info("gateway.draining", gateway=gateway.gateway_id)
        log.info("gateway.stopped", gateway=gateway.gateway_id)
