"""Figures of a run: how times spread, and what processor time was used."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from mas_core.ops.system import System

BEAT_S = 0.6
"""Longer than gateways wait between two heartbeats, which carry their counters."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How times spread, in milliseconds; zeros when there are none."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


def spread(times_ns: Iterable[int]) -> Spread:
    """The spread of times in nanoseconds."""
    ordered = sorted(times_ns)
    if not ordered:
        return Spread()
    last = len(ordered) - 1
    p50, p95, p99 = (
        round(ordered[min(last, int(len(ordered) * share))] / 1e6, 3) for share in (0.5, 0.95, 0.99)
    )
    return Spread(p50, p95, p99)


@dataclass(frozen=True, slots=True)
class Use:
    """What the running gateways and the server have used so far, in seconds of processor time."""

    messages: int
    gateway_s: float
    server_s: float


async def use_of(system: System) -> Use:
    """What was used until now; the gateways' part is as old as their last heartbeat."""
    gateways = await system.gateways()
    return Use(
        sum(item.messages for item in gateways),
        sum(item.cpu_s for item in gateways),
        await server_seconds(system),
    )


async def use_since(system: System, before: Use) -> Use:
    """What was used since `before`; waits for the next heartbeat of the gateways."""
    await asyncio.sleep(BEAT_S)
    after = await use_of(system)
    return Use(
        after.messages - before.messages, after.gateway_s - before.gateway_s, after.server_s - before.server_s
    )


async def server_seconds(system: System) -> float:
    """Processor time that the server has used; 0 when it does not tell."""
    if system.store.connection.is_memory:
        return 0.0
    text = await system.store.connection.call("INFO", "cpu")
    fields = dict(line.split(":", 1) for line in text.decode().split() if ":" in line)
    return float(fields.get("used_cpu_user", 0)) + float(fields.get("used_cpu_sys", 0))


def per_message_us(seconds: float, messages: int) -> float:
    """Microseconds a message."""
    return round(seconds / max(1, messages) * 1e6, 2)
