"""R3: an agent is stopped in the middle of a message, another takes its place, and it goes on."""

from __future__ import annotations

import asyncio
import signal

from tests.faults.outcome import Options, Outcome, Row
from tests.faults.world import AgentGroup, Plan, World

FAULT = "zombie agent: stopped, and replaced meanwhile"
COUNTERS = 4
POINTS = (
    "agent.read",
    "agent.before_handler",
    "agent.after_handler",
    "agent.before_settle",
    "agent.before_settle",
    "agent.after_settle",
)
PATIENCE_S = 6.0
AFTERLIFE_S = 0.2


async def run(options: Options) -> Outcome:
    """What the late one settles must not count a second time: every count has to be exact."""
    outcome = Outcome("r3-agent", FAULT)
    plan = Plan(counters=COUNTERS, relays=True, receiver_processes=1, receivers=1, rate=250, failing=0)
    async with World(options, plan) as world:
        left = options.runs

        async def replace(group: AgentGroup) -> None:
            nonlocal left
            await world.kill_agents(group)
            while left > 0:
                left -= 1
                point = world.chance.choice(POINTS)
                zombie = await world.start_agents(group, f"{point}:{world.chance.randint(1, 20)}=stop")
                # What it had in hand is handled by its successor as well.
                world.killed_handlers.append(zombie.pid)
                try:
                    await asyncio.wait_for(zombie.stopped.wait(), PATIENCE_S)
                except TimeoutError:
                    left += 1
                else:
                    successor = await world.start_agents(group)
                    await world.until(
                        lambda pid=successor.pid: f" {pid} ".encode() in group.ledger.read_bytes(),
                        "a successor",
                    )
                    zombie.signal(signal.SIGCONT)
                    await asyncio.sleep(world.chance.uniform(0, 2 * AFTERLIFE_S))
                    outcome.runs += 1
                    world.killed_handlers.append(successor.pid)
                    await successor.kill()
                await zombie.kill()
            await world.start_agents(group)

        await asyncio.gather(*(replace(group) for group in world.counters))
        await world.until_working()
        await world.finish(outcome)
        outcome.notes = f"{outcome.figures['counted']:,.0f} counted" + ("" if outcome.broken else " exactly")
    return outcome


ROWS = [Row("r3-agent", FAULT, run, full=500, slice=10)]
