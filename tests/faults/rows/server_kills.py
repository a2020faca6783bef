"""R4: the server is killed and started again; gateways and agents stay, and go on by themselves."""

from __future__ import annotations

import asyncio

from tests.faults.outcome import Options, Outcome, Row, percentile
from tests.faults.world import Plan, World

FAULT = "kill -9 of the server"
BACK_WITHIN_MS = 5_000
MEAN_PAUSE_S = 0.6


async def run(options: Options) -> Outcome:
    """Kill it, start it, wait until messages are acknowledged, and so on."""
    outcome = Outcome("r4", FAULT)
    async with World(options, Plan()) as world:
        for _ in range(options.runs):
            await asyncio.sleep(world.chance.uniform(0, 2 * MEAN_PAUSE_S))
            await world.server.kill()
            await asyncio.sleep(world.chance.uniform(0, 0.3))
            await world.server.start()
            world.note_fault(world.partitions)
            outcome.runs += 1
            await world.until_working()
        await world.finish(outcome)
        outcome.notes = "recovery counts from when the server is up"
        slowest = percentile(outcome.recovery_ms, 0.99) or 0
        if slowest > BACK_WITHIN_MS:
            outcome.broken += 1
            outcome.offending.append(
                f"back after {slowest / 1000:.1f} s at p99, not within {BACK_WITHIN_MS / 1000} s"
            )
    return outcome


ROWS = [Row("r4", FAULT, run, full=200, slice=10)]
