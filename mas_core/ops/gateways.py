"""The gateways of a system: run one, look at all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mas_core.gateway.process import START_SECONDS, Change, serve
from mas_core.gateway.service import GatewayStatus
from mas_core.ops.agent_runs import OnEvent
from mas_core.ops.run_events import RunEvent
from mas_core.ops.system import System
from mas_core.settings.target import Target

__all__ = ["START_SECONDS", "GatewayStatus", "GatewaysStatus", "gateways_status", "run_gateway"]


@dataclass(frozen=True, slots=True)
class GatewaysStatus:
    """Who takes messages."""

    gateways: list[GatewayStatus]
    unowned: list[int]
    """Partitions whose messages nobody takes."""
    now: int
    """Unix milliseconds by the server's clock."""


async def run_gateway(
    target: Target,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
    *,
    gateway_id: str = "",
    ready_within: float = START_SECONDS,
) -> None:
    """Run a gateway of the system until `stop` is set, then drain it.

    Raises:
        SecretUnavailable: There is no folder of keys.
        LockHeld: A gateway of this name runs already.
        StoreUnreachable: The server does not answer.
        DeadlineExceeded: Not every partition had an owner in time.
    """

    def tell(change: Change, name: str) -> None:
        if change == "ready":
            on_event(RunEvent("ready", f"{name} takes messages", agent_id=name))
        else:
            on_event(RunEvent("stopping", f"{name} finishes the batches in hand", agent_id=name))

    await serve(target, stop, gateway_id=gateway_id, on_change=tell, ready_within=ready_within)
    on_event(RunEvent("stopped", "the gateway has ended"))


async def gateways_status(system: System) -> GatewaysStatus:
    """The gateways that run now, and the partitions that none of them owns.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    gateways = await system.gateways()
    owned = {partition for gateway in gateways for partition in gateway.partitions}
    unowned = [partition for partition in range(system.store.partitions) if partition not in owned]
    return GatewaysStatus(gateways, unowned, await system.store.connection.time_ms())
