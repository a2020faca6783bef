"""R3: a gateway is stopped in the middle of its work, another takes its partitions over, and it goes on."""

from __future__ import annotations

import asyncio
import signal

from tests.faults.outcome import Options, Outcome, Row
from tests.faults.world import Plan, World
from tests.faults.zygote import Process

FAULT = "zombie gateway: stopped past its lease"
GATEWAYS = 6
ZOMBIES = 4
"""Gateways that are stopped at the same time at most."""
POINTS = (
    "gateway.taken",
    "gateway.looked_up",
    "gateway.judged",
    "gateway.before_commit",
    "gateway.before_commit",
    "gateway.after_commit",
    "gateway.before_answer",
    "gateway.before_renew",
)
PATIENCE_S = 10.0
AFTERLIFE_S = 0.3
"""How long it goes on after it was stopped."""


async def run(options: Options) -> Outcome:
    """Stop at a step, wait until somebody else has committed, and let it go on."""
    outcome = Outcome("r3", FAULT)
    plan = Plan(partitions=GATEWAYS, gateways=GATEWAYS)
    async with World(options, plan) as world:
        left = options.runs

        async def replace(veteran: Process) -> None:
            nonlocal left
            await world.kill_gateway(veteran)
            while left > 0:
                left -= 1
                point = world.chance.choice(POINTS)
                zombie = await world.start_gateway(f"{point}:{world.chance.randint(1, 6)}=stop")
                if await _has_stopped(zombie):
                    was_late = await _wake_late(world, zombie)
                    outcome.runs += was_late
                    left += not was_late
                else:
                    left += 1
                world.gateways.remove(zombie)
                await zombie.kill()
            await world.start_gateway()

        await asyncio.gather(*(replace(process) for process in world.gateways[:ZOMBIES]))
        await world.until_working()
        lost = (world.folder / "gateway.log").read_text().count('"partition.lost"')
        await world.finish(outcome)
        outcome.notes = f"{lost} partitions given up by the late"
        if not lost and outcome.runs:
            outcome.broken += 1
            outcome.offending.append("no gateway ever noticed that it was late: the fault was none")
    return outcome


async def _has_stopped(process: Process) -> bool:
    waiting = [asyncio.create_task(event.wait()) for event in (process.stopped, process.ended)]
    await asyncio.wait(waiting, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return process.stopped.is_set() and process.is_alive


async def _wake_late(world: World, zombie: Process) -> bool:
    """Whether it was late: what it owned belongs to others when it goes on."""
    owned = await world.owned(zombie)
    before = await _nonces(world)
    world.note_fault(owned)

    async def taken_over() -> bool:
        now = await _nonces(world)
        return all(now[number] not in (b"", before[number]) for number in owned)

    await world.until(taken_over, "another gateway to take over", 30)
    await world.until_working()
    zombie.signal(signal.SIGCONT)
    await asyncio.sleep(world.chance.uniform(0, 2 * AFTERLIFE_S))
    return bool(owned)


async def _nonces(world: World) -> list[bytes]:
    return [meta.get("nonce", b"") for meta in await world.system.store.records.metas()]


ROWS = [Row("r3", FAULT, run, full=500, slice=10)]
