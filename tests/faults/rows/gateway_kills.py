"""R1: gateways are killed at random times, one after the other, and new ones take their place."""

from __future__ import annotations

import asyncio

from tests.faults.outcome import Options, Outcome, Row
from tests.faults.world import Plan, World

FAULT = "kill -9 of a gateway"
GATEWAYS = 6
"""More than two, so that a thousand kills do not wait for a thousand leases one after the other."""
MEAN_PAUSE_S = 0.35


async def run(options: Options) -> Outcome:
    """Kill, start another, and so on."""
    outcome = Outcome("r1", FAULT)
    async with World(options, Plan(partitions=GATEWAYS, gateways=GATEWAYS)) as world:
        for _ in range(options.runs):
            await asyncio.sleep(world.chance.uniform(0, 2 * MEAN_PAUSE_S))
            world.note_crashes()
            await world.kill_gateway(world.chance.choice(world.gateways))
            await world.start_gateway()
            outcome.runs += 1
        await world.until_working()
        await world.finish(outcome)
    return outcome


ROWS = [Row("r1", FAULT, run, full=1_000, slice=50)]
