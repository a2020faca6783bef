"""R22: somebody empties the script cache, deletes the gateways' user, or changes the server's settings under us."""

from __future__ import annotations

import asyncio
import time

from mas_core.gateway.service import Gateway
from mas_core.store.profiles import server_facts, shortfalls
from mas_core.store.store import Store
from tests.faults.cut_system import CutSystem, cut_system
from tests.faults.outcome import Options, Outcome, Row

FAULT = "scripts flushed, user deleted, settings changed"
SENDERS = ("left", "right")
USER = ("gateway", "secret-of-the-gateway")
WITHOUT_USER_S = 1.0


async def run(options: Options) -> Outcome:
    """One change after the other while messages pass."""
    outcome = Outcome("r22", FAULT)
    allow = [(sender, "worker") for sender in SENDERS]
    async with cut_system(*SENDERS, "worker", allow=allow, profile="durable", gateways=0) as system:
        await _make_user(system)
        await _start_gateway(system)
        senders = [await system.start_client(sender) for sender in SENDERS]
        await system.start_agent("worker")
        changes = (_flush_scripts, _delete_user, _change_settings)
        async with system.load(senders, "worker"):
            for number in range(options.runs):
                await asyncio.sleep(0.2)
                began = await changes[number % len(changes)](system, outcome)
                outcome.recovery_ms.append(await system.recovered_ms(began))
                outcome.runs += 1
        await system.finish(outcome)
    return outcome


async def _make_user(system: CutSystem) -> None:
    await system.live.store.connection.call(
        "ACL", "SETUSER", USER[0], "reset", "on", f">{USER[1]}", "~*", "&*", "+@all"
    )


async def _start_gateway(system: CutSystem) -> None:
    url = system.gateway_side.url(USER[1]).replace("://:", f"://{USER[0]}:")
    store = Store(url, namespace=system.live.store.namespace, partitions=system.live.store.partitions)
    gateway = Gateway(store, system.live.keys, system.live.settings)
    system.live.gateway_stack.push_async_callback(store.close)
    await system.live.gateway_stack.enter_async_context(gateway)


async def _flush_scripts(system: CutSystem, _outcome: Outcome) -> float:
    for _ in range(10):
        await system.live.store.connection.call("SCRIPT", "FLUSH")
        await asyncio.sleep(0.01)
    return time.monotonic()


async def _delete_user(system: CutSystem, outcome: Outcome) -> float:
    """Without its user a gateway does nothing, and does not end; with it, it goes on."""
    await system.live.store.connection.call("ACL", "DELUSER", USER[0])
    await asyncio.sleep(0.1)
    before = len(system.ledger.handled)
    known = len(system.ledger.acknowledged)
    await asyncio.sleep(WITHOUT_USER_S)
    if len(system.ledger.acknowledged) > known:
        outcome.broken += 1
        outcome.offending.append(
            f"{len(system.ledger.acknowledged) - known} messages were acknowledged and"
            f" {len(system.ledger.handled) - before} handled although the gateway had no user"
        )
    await _make_user(system)
    return time.monotonic()


async def _change_settings(system: CutSystem, outcome: Outcome) -> float:
    """What the profile asks for is not so any more; who looks is told."""
    connection = system.live.store.connection
    for name, wrong, right in (
        ("appendfsync", "everysec", "always"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ):
        await connection.call("CONFIG", "SET", name, wrong)
        if not shortfalls("durable", await server_facts(connection)):
            outcome.broken += 1
            outcome.offending.append(f"{name} {wrong} is not noticed")
        await connection.call("CONFIG", "SET", name, right)
    return time.monotonic()


ROWS = [Row("r22", FAULT, run, full=300, slice=6)]
