"""R21: half load for a long time, with a fault of any kind every ten seconds, and memory that stays as it is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

from mas_core.errors import MasError
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.power_cut import PowerCut, compiler
from tests.faults.resources import Resources
from tests.faults.rows import all_injections
from tests.faults.world import Plan, World

FAULT = "soak: a fault of any kind every 10 s"
RATE = 250
EVERY_S = 10.0
EVERY_S_IN_SLICE = 3.0
JUDGED_FROM_S = 300
"""A shorter run says nothing about memory."""
MAX_MB_PER_MINUTE = 1.0
MAX_FILES_PER_MINUTE = 0.2


async def run(options: Options) -> Outcome:
    """Until the time is over; then everything is counted."""
    outcome = Outcome("r21", FAULT)
    power = None
    if compiler() is not None:
        power = PowerCut(options.folder / "power", options.folder / "server" / "data")
    plan = Plan(
        counters=2, relays=True, notary=True, rate=RATE, server_environ=power.environ if power else {}
    )
    injected: Counter[str] = Counter()
    async with World(options, plan) as world:
        world.power = power
        veteran, agents = world.gateways[0], world.receivers[0].process
        assert agents is not None
        world.spared.add(veteran.pid)
        resources = Resources({"gateway": veteran.pid, "agents": agents.pid}, lambda: _growing_bytes(world))
        possible = [item for item in all_injections() if item.is_possible(world)]
        every = EVERY_S_IN_SLICE if options.is_slice else EVERY_S
        end = time.monotonic() + options.seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, world.chance.uniform(0.5, 1.5) * every))
            world.note_crashes()
            # Each comes before any comes again.
            fewest = min(injected[item.name] for item in possible)
            injection = world.chance.choice([item for item in possible if injected[item.name] == fewest])
            await injection.inject(world)
            injected[injection.name] += 1
            outcome.runs += 1
            await world.until_working()
        await resources.stop()
        await world.finish(outcome)
    slopes = resources.slopes()
    outcome.figures |= {
        **slopes,
        **resources.most(),
        **{f"injected: {name}": times for name, times in injected.items()},
    }
    outcome.notes = f"{len(injected)} kinds; " + ", ".join(
        f"{name} {slope:+.2f}" for name, slope in slopes.items() if name != "store files/min"
    )
    if options.seconds >= JUDGED_FROM_S:
        _judge(outcome, slopes)
    return outcome


def _judge(outcome: Outcome, slopes: dict[str, float]) -> None:
    for name, slope in slopes.items():
        most = MAX_MB_PER_MINUTE if name.endswith("MB/min") else MAX_FILES_PER_MINUTE
        if slope > most:
            outcome.broken += 1
            outcome.offending.append(f"{name} grows by {slope:.2f} a minute, more than {most:g}")


async def _growing_bytes(world: World) -> float | None:
    """Memory of the store without what is kept by design: the audit, and the ids that can occur again."""
    store = world.system.store
    try:
        facts = await store.connection.server_facts()
        kept = 0
        async for key in _keys(world):
            if b":audit" in key or b":seen:" in key:
                kept += int(await store.connection.call("MEMORY", "USAGE", key, "SAMPLES", 5) or 0)
    except MasError:
        return None
    return int(facts["used_memory"]) - kept


async def _keys(world: World) -> AsyncIterator[bytes]:
    cursor = b"0"
    while True:
        cursor, keys = await world.system.store.connection.call("SCAN", cursor, "COUNT", 500)
        for key in keys:
            yield key
        if cursor == b"0":
            return


ROWS = [Row("r21", FAULT, run, full=1, slice=1)]
