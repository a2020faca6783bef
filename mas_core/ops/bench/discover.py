"""Measures discovery in a running system: asked by capability, and whether the right agents were found."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mas_core.agent.client import Client
from mas_core.base.ids import new_instance_id
from mas_core.errors import MasError, UsageError
from mas_core.model.policy import ANYONE
from mas_core.ops.bench.cast import cast_of
from mas_core.ops.bench.figures import per_message_us, spread, use_of, use_since
from mas_core.ops.bench.load import MAX_AGENTS, Load, drive
from mas_core.ops.bench.receiving import receiving
from mas_core.ops.system import System

AGENTS_OF_ONE_CAPABILITY = 10
QUESTIONS_OF_ONE = 500
MAX_ASKERS = 100
QUESTIONS_PER_S = 2000
"""More than one gateway answers, to have askers enough for a run whose number of questions is not known."""


@dataclass(frozen=True, slots=True)
class DiscoverResult:
    """The outcome of a run; times are from the question to its answer."""

    agents: int
    """Agents that ran for it."""
    sent: int
    answered: int
    wrong: int
    """Did not find just the agents with the capability."""
    failed: int
    seconds: float
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    gateway_cpu_us_per_message: float
    server_cpu_us_per_message: float

    @property
    def is_complete(self) -> bool:
        """Whether every question found just what it should."""
        return self.answered == self.sent and not self.wrong


async def discover(
    system: System,
    load: Load,
    *,
    agents: int = 10,
    on_progress: Callable[[int], None] = lambda _done: None,
) -> DiscoverResult:
    """Run agents in a process of their own, ten to a capability, and ask for one capability after the other.

    Args:
        system: A running system; its keys must be at hand.
        load: How often, and how.
        agents: Agents that run.
        on_progress: Called now and then with the number of questions so far.

    Raises:
        UsageError: A number makes no sense.
        GatewayDown: No gateway runs.
    """
    load.check()
    if not 1 <= agents <= MAX_AGENTS:
        raise UsageError(f"between 1 and {MAX_AGENTS} agents can run")
    await system.require_gateway()
    times = array("q")
    wrong = failed = 0
    prefix = f"bench-{new_instance_id()[:6]}"
    askers = [f"{prefix}-asker-{number}" for number in range(askers_for(load))]
    names = [f"{prefix}-{number}" for number in range(agents)]
    capability_of = {
        name: f"{prefix}.{number // AGENTS_OF_ONE_CAPABILITY}" for number, name in enumerate(names)
    }
    capable: dict[str, set[str]] = {}
    for name, capability in capability_of.items():
        capable.setdefault(capability, set()).add(name)
    wanted = list(capable)
    async with (
        cast_of(system, names=[(asker, ANYONE) for asker in askers], others=names) as cast,
        receiving(system, [(name, cast.tokens[name], (capability_of[name],)) for name in names]),
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(Client(system.store, asker, cast.tokens[asker]))
            for asker in askers
        ]

        async def work(first: int, count: int) -> None:
            nonlocal wrong, failed
            for number in range(first, first + count):
                capability = wanted[number % len(wanted)]
                began = time.monotonic_ns()
                try:
                    found = await clients[number % len(clients)].discover([capability])
                except MasError:
                    failed += 1
                    continue
                times.append(time.monotonic_ns() - began)
                wrong += {agent["id"] for agent in found} != capable[capability]

        before = await use_of(system)
        began = time.monotonic()
        asked = await drive(load, work, on_progress)
        seconds = time.monotonic() - began
        used = await use_since(system, before)
    found = spread(times)
    return DiscoverResult(
        agents,
        asked,
        len(times),
        wrong,
        failed,
        round(seconds, 3),
        round(len(times) / seconds, 1),
        found.p50_ms,
        found.p95_ms,
        found.p99_ms,
        per_message_us(used.gateway_s, asked),
        per_message_us(used.server_s, asked),
    )


def askers_for(load: Load) -> int:
    """So many agents ask in turn that none asks more than a gateway lets one agent ask it in a minute."""
    questions = load.count or load.seconds * (load.rate or QUESTIONS_PER_S)
    return min(MAX_ASKERS, max(1, math.ceil(questions / QUESTIONS_OF_ONE)))
