"""R8: connections end before, in the middle of and after what counts, between agents, gateways and server."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator

from tests.faults.cut_system import (
    CutSystem,
    adds_to_ingress,
    calls_script,
    cut_system,
    reads_inbox,
    reads_replies,
)
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.proxy import At, Command, Cut, How, Proxy

FAULT = "connection cut before, in and after a call"
HALF_OPEN_SHARE = 0.02
"""Half-open connections cost ten seconds each, as nobody is told of their end."""
SENDERS = ("left", "right", "third", "fourth")
Kind = tuple[Callable[[Command], bool], At]

AGENT_CUTS: tuple[Kind, ...] = (
    *((adds_to_ingress, at) for at in ("before", "within", "after")),
    *((calls_script("settle"), at) for at in ("before", "within", "after")),
    (reads_inbox, "after"),
    (reads_replies, "after"),
)
GATEWAY_CUTS: tuple[Kind, ...] = tuple((calls_script("commit"), at) for at in ("before", "within", "after"))


async def run(options: Options) -> Outcome:
    """Half of the cuts at the gateway's commits, the others where agents send, read and settle."""
    outcome = Outcome("r8-cuts", FAULT, runs=options.runs)
    half_open = int(options.runs * HALF_OPEN_SHARE) or 1
    resets = options.runs - half_open
    allow = [(sender, "worker") for sender in SENDERS]
    async with cut_system(*SENDERS, "worker", allow=allow, gateways=2) as system:
        senders = [await system.start_client(sender) for sender in SENDERS]
        await system.start_agent("worker")
        async with system.load(senders, "worker"):
            kinds = itertools.cycle(GATEWAY_CUTS)
            for _ in range(resets // 2):
                outcome.recovery_ms.append(await _cut(system, system.gateway_side, kinds, 1))
            kinds = itertools.cycle(AGENT_CUTS)
            left = resets - resets // 2
            while left:
                together = min(left, len(SENDERS))
                outcome.recovery_ms.append(await _cut(system, system.agent_side, kinds, together))
                left -= together
            for number in range(half_open):
                side = (system.agent_side, system.gateway_side)[number % 2]
                kinds = iter((AGENT_CUTS, GATEWAY_CUTS)[number % 2][number // 2 % 3 :])
                outcome.recovery_ms.append(await _cut(system, side, kinds, 1, "half_open"))
        await system.finish(outcome)
    outcome.notes = f"{system.ledger.unknown} unknown, all cleared by asking again under the same id"
    return outcome


async def _cut(
    system: CutSystem, proxy: Proxy, kinds: Iterator[Kind], together: int, how: How = "reset"
) -> float:
    cuts = [proxy.arm(Cut(matches, at, how)) for matches, at in itertools.islice(kinds, together)]
    async with asyncio.timeout(60):
        while not all(cut.made.is_set() for cut in cuts):
            await asyncio.sleep(0.002)
    return await system.recovered_ms(time.monotonic())


ROWS = [Row("r8-cuts", FAULT, run, full=1_000, slice=24)]
