"""R16: agents that count in their state are killed anywhere in their handlers, and the counts stay exact."""

from __future__ import annotations

import asyncio

from tests.faults.outcome import Options, Outcome, Row
from tests.faults.world import Plan, World

FAULT = "kill -9 of agents in their handlers"
COUNTERS = 6
MESSAGES_OF_A_KILL = 120
"""Some go to receivers and not to counters, so that a thousand kills come with 100,000 counted messages."""
RATE = 300


async def run(options: Options) -> Outcome:
    """Kill an agent, start it again in its place, and so on while messages come."""
    outcome = Outcome("r16", FAULT)
    plan = Plan(counters=COUNTERS, relays=True, receiver_processes=1, receivers=1, rate=RATE, failing=0)
    async with World(options, plan) as world:
        for _ in range(options.runs):
            await asyncio.sleep(world.chance.uniform(0, 2 * MESSAGES_OF_A_KILL / RATE))
            # One that is killed before it has started holds nothing.
            await world.until(lambda: any(map(world.is_ready, world.counters)), "an agent to start")
            group = world.chance.choice([group for group in world.counters if world.is_ready(group)])
            await world.kill_agents(group)
            await world.start_agents(group)
            outcome.runs += 1
        messages = options.runs * MESSAGES_OF_A_KILL
        while world.receipts() < messages:
            await asyncio.sleep(1)
        await world.finish(outcome)
        counted = int(outcome.figures["counted"])
        outcome.notes = f"{counted:,} counted exactly" if not outcome.broken else f"{counted:,} counted"
    return outcome


ROWS = [Row("r16", FAULT, run, full=1_000, slice=20)]
