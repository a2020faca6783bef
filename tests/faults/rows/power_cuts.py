"""R5: the power is cut: the durable profile keeps what was acknowledged, the fast one loses a window."""

from __future__ import annotations

import asyncio
import contextlib
import time

from mas_core.errors import InternalError
from tests.faults.checker import Audited
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.power_cut import NO_COMPILER, PowerCut, compiler
from tests.faults.world import Plan, World

DURABLE = "power cut, profile durable"
FAST = "power cut, profile fast"
WINDOW_MS = 2_000
"""What the profile fast may lose."""
NOTED_LATE_NS = 10**9
"""A receipt that came right before the cut may be written down so long after it."""
MEAN_PAUSE_S = 0.6
REWRITE_EVERY = 7
"""Cuts between two rewrites of the append-only file."""


async def run_durable(options: Options) -> Outcome:
    """Nothing that was acknowledged is lost."""
    return await run("r5-durable", DURABLE, options, "durable")


async def run_fast(options: Options) -> Outcome:
    """How old the oldest message is that was acknowledged and lost."""
    return await run("r5-fast", FAST, options, "fast")


async def run(row: str, fault: str, options: Options, profile: str) -> Outcome:
    """Cut, start the server, wait until messages are acknowledged, and so on."""
    outcome = Outcome(row, fault)
    if compiler() is None:
        outcome.skipped = NO_COMPILER
        return outcome
    power = PowerCut(options.folder / "power", options.folder / "server" / "data")
    plan = Plan(profile=profile, server_environ=power.environ)
    cuts: list[int] = []
    gone = 0
    async with World(options, plan) as world:
        for number in range(options.runs):
            await asyncio.sleep(world.chance.uniform(0, 2 * MEAN_PAUSE_S))
            if number % REWRITE_EVERY == 0:
                # It says no while it does so by itself.
                with contextlib.suppress(InternalError):
                    await world.system.store.connection.call("BGREWRITEAOF")
                await asyncio.sleep(world.chance.uniform(0, 0.05))
            await world.server.kill()
            cuts.append(time.monotonic_ns())
            gone += power.cut()
            await world.server.start()
            world.note_fault(world.partitions)
            outcome.runs += 1
            await world.until_working()
        audited = await world.finish(outcome)
        outcome.notes = f"{gone:,} bytes were not on disk"
        if profile == "fast":
            _measure_window(outcome, world, audited, cuts)
    return outcome


def _measure_window(outcome: Outcome, world: World, audited: Audited, cuts: list[int]) -> None:
    """What was acknowledged within the window and is gone is told, not counted: that is what the profile says."""
    forgotten = [ack for ack in world.ledgers().acks if ack.message_id not in audited.allowed]
    ages_ms = [
        min(
            (max(0, cut - ack.acknowledged) for cut in cuts if cut > ack.acknowledged - NOTED_LATE_NS),
            default=2**62,
        )
        / 1e6
        for ack in forgotten
    ]
    older = sum(age > WINDOW_MS for age in ages_ms)
    window = max(ages_ms, default=0)
    outcome.figures |= {"forgotten": len(forgotten), "window_ms": window, "lost_in_window": outcome.lost}
    outcome.notes = (
        f"{len(forgotten):,} acknowledged messages gone, {outcome.lost:,} of them unhandled; "
        f"the oldest {window / 1000:.2f} s before the cut"
    )
    # Records go with what they are about, and what was settled may be open again.
    outcome.lost, outcome.unaudited, outcome.duplicated, outcome.undelivered = older, 0, 0, 0
    if not outcome.violations:
        outcome.offending = []


ROWS = [
    Row("r5-durable", DURABLE, run_durable, full=200, slice=10),
    Row("r5-fast", FAST, run_fast, full=50, slice=2),
]
