"""The gateways of a system: run one, look at all, drain some."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from mas_core.errors import Conflict, DeadlineExceeded, GatewayNotFound, UsageError
from mas_core.gateway.process import START_SECONDS, Change, check, serve
from mas_core.gateway.service import DRAIN_SECONDS
from mas_core.model.gateway_status import DrainOrder, GatewayStatus, order_purpose
from mas_core.ops.agent_runs import OnEvent
from mas_core.ops.health.endpoint import gateway_health
from mas_core.ops.run_events import RunEvent
from mas_core.ops.system import System
from mas_core.ops.up import check_profile
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import signed, verified
from mas_core.settings.health_settings import Address
from mas_core.settings.target import Target

__all__ = [
    "DRAIN_SECONDS",
    "START_SECONDS",
    "GatewayStatus",
    "GatewaysStatus",
    "check_gateway",
    "drain_gateways",
    "drain_orders",
    "gateways_status",
    "resume_gateways",
    "run_gateway",
    "select_gateways",
]

LOOK_S = 0.05
NOTICE_SECONDS = 5.0
"""How long a running gateway may take to follow an order."""
DRAINED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class GatewaysStatus:
    """Who takes messages."""

    gateways: list[GatewayStatus]
    unowned: list[int]
    """Partitions whose messages nobody takes."""
    now: int
    """Unix milliseconds by the server's clock."""
    lags_s: dict[str, float] = field(default_factory=dict)
    """Gateway id -> seconds that the oldest message has waited for it; 0 where none waits."""


async def run_gateway(
    target: Target,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
    *,
    gateway_id: str = "",
    ready_within: float = START_SECONDS,
    force: bool = False,
    health: Address | None = None,
    drain_s: float = DRAIN_SECONDS,
) -> bool:
    """Run a gateway of the system until `stop` is set, then drain it.

    Args:
        target: The system.
        stop: Ends the gateway.
        on_event: Gets what happens.
        gateway_id: Its name; made up when left out.
        ready_within: Seconds until every partition has to have an owner.
        force: Go on although the server cannot keep what the profile promises.
        health: Where it answers about its health; where the project says when left out.
        drain_s: Seconds until what is still in hand is left to the other gateways.

    Returns:
        Whether everything in hand was finished.

    Raises:
        ProfileUnmet: The server cannot keep what the profile promises.
        ConfigurationError: Health cannot be served at this address.
        SecretUnavailable: There is no folder of keys.
        LockHeld: A gateway of this name runs already.
        StoreUnreachable: The server does not answer.
        DeadlineExceeded: Not every partition had an owner in time.
    """

    def tell(change: Change, name: str) -> None:
        tell_health(change, name)
        if change == "ready":
            on_event(RunEvent("ready", f"{name} takes messages", agent_id=name))
        else:
            on_event(RunEvent("stopping", f"{name} finishes the batches in hand", agent_id=name))

    if force:
        async with System(target) as system:
            await check_profile(system, on_event, force=True)
    async with gateway_health(target, health) as tell_health:
        is_drained = await serve(
            target,
            stop,
            gateway_id=gateway_id,
            on_change=tell,
            ready_within=ready_within,
            force=force,
            drain_s=drain_s,
        )
    on_event(
        RunEvent("stopped", "the gateway has ended" if is_drained else "what was in hand is left to others")
    )
    return is_drained


async def check_gateway(target: Target, *, gateway_id: str = "", force: bool = False) -> GatewaysStatus:
    """Find out whether a gateway could be run, and change nothing; the gateways that run already.

    Raises:
        ConfigurationError, SpecInvalid: The settings or keys cannot be used.
        ProfileUnmet, SecretUnavailable, LockHeld, StoreUnreachable: As by `run_gateway`.
    """
    await check(target, gateway_id=gateway_id, force=force)
    async with System(target) as system:
        return await gateways_status(system)


async def gateways_status(system: System) -> GatewaysStatus:
    """The gateways that run now, and the partitions that none of them owns.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    gateways = await system.gateways()
    owned = {partition for gateway in gateways for partition in gateway.partitions}
    unowned = [partition for partition in range(system.store.width) if partition not in owned]
    waiting = {item.partition: item.oldest for item in await system.store.progress.partitions()}
    now = await system.store.connection.time_ms()
    lags = {
        gateway.gateway_id: max(
            (max(0, now - at) / 1000 for part in gateway.partitions if (at := waiting.get(part, 0))),
            default=0.0,
        )
        for gateway in gateways
    }
    return GatewaysStatus(gateways, unowned, now, lags)


async def drain_orders(system: System) -> dict[str, DrainOrder]:
    """Gateway id -> the order that it owns nothing; what does not carry the gateways' MAC does not count."""
    found = {}
    for gateway_id, text in (await system.store.gateways.drain_orders()).items():
        data = verified(system.keys, order_purpose(gateway_id), text)
        with contextlib.suppress(msgspec.DecodeError):
            if data is not None:
                found[gateway_id] = msgspec.json.decode(data, type=DrainOrder)
    return found


async def select_gateways(
    system: System, names: Sequence[str] = (), *, hosts: Sequence[str] = (), everyone: bool = False
) -> list[str]:
    """Ids of gateways that run or are drained: these, those on these hosts, or all.

    Raises:
        GatewayNotFound: There is no such gateway, or none on such a host.
        UsageError: Nothing is selected.
    """
    if not (names or hosts or everyone):
        raise UsageError("say which gateways", hint=("mas gateway status", "--host HOST", "--all"))
    running = await system.gateways()
    known = {gateway.gateway_id for gateway in running} | set(await drain_orders(system))
    if missing := [name for name in names if name not in known]:
        raise GatewayNotFound(f"no gateway {', '.join(missing)} runs", hint="mas gateway status")
    places = {gateway.host for gateway in running}
    if missing := [host for host in hosts if host not in places]:
        raise GatewayNotFound(f"no gateway runs on {', '.join(missing)}", hint="mas gateway status")
    there = [gateway.gateway_id for gateway in running if gateway.host in hosts]
    return sorted({*names, *there, *(known if everyone else ())})


async def drain_gateways(
    system: System,
    gateway_ids: Sequence[str],
    *,
    reason: str = "",
    force: bool = False,
    wait: float | None = None,
) -> list[GatewayStatus]:
    """Let gateways give up their partitions, one after the other, and take none; they go on running.

    The order belongs to the name: a gateway that is started again under it owns nothing either. It returns when
    every one that runs follows.

    Args:
        system: The system.
        gateway_ids: Which ones.
        reason: Why, in words.
        force: Also where none is left that takes messages.
        wait: Seconds to wait until they own nothing; None to return when they have begun.

    Returns:
        The gateways as they are then, of those that run.

    Raises:
        Conflict: None would be left that takes messages.
        DeadlineExceeded: One did not follow, or was not empty in time; the order stays in force.
        AuditUnavailable: It cannot be recorded.
    """
    await check_drain(system, gateway_ids, force=force)
    order = DrainOrder(system.actor, await system.store.connection.time_ms(), reason)
    text = msgspec.json.encode(order)
    with acting("gateway.drain", *gateway_ids, reason=reason):
        async with system.operator_log.writing("gateway", change={"gateways": list(gateway_ids)}):
            for gateway_id in gateway_ids:
                await system.store.gateways.put_drain_order(
                    gateway_id, signed(system.keys, order_purpose(gateway_id), text)
                )
            await system.store.gateways.tell_news()
    found = await _until(
        system, gateway_ids, lambda gateway: gateway.is_draining, NOTICE_SECONDS, "does not follow"
    )
    if wait is None:
        return found
    return await _until(
        system, gateway_ids, lambda gateway: gateway.state == "drained", wait, "still owns partitions"
    )


async def check_drain(system: System, gateway_ids: Sequence[str], *, force: bool = False) -> None:
    """Make sure that a gateway is left that takes messages.

    Raises:
        Conflict: None would be.
    """
    left = [
        gateway.gateway_id
        for gateway in await system.gateways()
        if gateway.gateway_id not in gateway_ids and not gateway.is_draining
    ]
    if not (left or force):
        raise Conflict(
            "no gateway would be left to take messages: they would wait",
            hint=("mas gateway run --id another", "--force"),
        )


async def resume_gateways(
    system: System, gateway_ids: Sequence[str], *, reason: str = ""
) -> list[GatewayStatus]:
    """Let drained gateways take their share of the partitions again; those that run do when this returns.

    Raises:
        DeadlineExceeded: One did not follow in time.
        AuditUnavailable: It cannot be recorded.
    """
    with acting("gateway.resume", *gateway_ids, reason=reason):
        async with system.operator_log.writing("gateway", change={"gateways": list(gateway_ids)}):
            await system.store.gateways.remove_drain_orders(gateway_ids)
            await system.store.gateways.tell_news()
    return await _until(
        system, gateway_ids, lambda gateway: not gateway.is_draining, NOTICE_SECONDS, "does not follow"
    )


async def _until(
    system: System,
    gateway_ids: Sequence[str],
    is_so: Callable[[GatewayStatus], bool],
    seconds: float,
    otherwise: str,
) -> list[GatewayStatus]:
    """Wait until it is so for each of these gateways that runs."""
    deadline = time.monotonic() + seconds
    while True:
        found = [gateway for gateway in await system.gateways() if gateway.gateway_id in gateway_ids]
        late = [gateway.gateway_id for gateway in found if not is_so(gateway)]
        if not late:
            return found
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"after {seconds:g} s {', '.join(late)} {otherwise}; the order stays in force",
                hint="mas gateway status",
            )
        await asyncio.sleep(LOOK_S)
