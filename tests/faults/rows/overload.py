"""R19: five times what a receiver can take, from senders that wait for answers and from those that do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mas_core import AgentMessage
from mas_core.agent.client import Client
from mas_core.model.policy import RateLimit
from mas_core.security.policy_changes import set_limit
from tests.faults.cut_system import CutSystem, Worker, cut_system
from tests.faults.outcome import Options, Outcome, Row, percentile

FAULT = "five times the load that fits"
SENDERS = ("left", "right", "limited")
IN_FLIGHT = 4
TAKES_S = 0.04
FITS = IN_FLIGHT / TAKES_S
"""Messages a second that the receiver can take."""
BOUND = 100
LIMIT = RateLimit(per_minute=200, per_hour=10**6)
CLOSED_LOOP = 20
"""Messages of the limited sender that wait for an answer at the same time."""
MOST_SLOWER = 3
SECONDS = 20.0
SECONDS_OF_SLICE = 2.0


class Busy(Worker):
    """Takes its time."""

    async def on_message(self, message: AgentMessage) -> object:
        """Note it, and be busy."""
        noted = await super().on_message(message)
        await asyncio.sleep(TAKES_S)
        return noted


async def run(options: Options) -> Outcome:
    """Half of what fits, then five times as much; what is refused is refused as what it is."""
    outcome = Outcome("r19", FAULT)
    seconds = SECONDS_OF_SLICE if options.is_slice else SECONDS
    ratios = []
    allow = [(sender, "worker") for sender in SENDERS]
    async with cut_system(*SENDERS, "worker", allow=allow, inbox_bound=BOUND) as system:
        await system.live.system.policy.change(lambda document: set_limit(document, "limited", LIMIT))
        senders = [await system.start_client(sender) for sender in SENDERS]
        await system.start_agent("worker", Busy, max_in_flight=IN_FLIGHT)
        for _ in range(options.runs):
            normal = await _open_loop(system, senders[0], FITS / 2, seconds)
            memory = _resident_bytes()
            stop = asyncio.Event()
            waiting = [
                asyncio.create_task(_closed_loop(system, senders[2], stop)) for _ in range(CLOSED_LOOP)
            ]
            halves = await asyncio.gather(
                *(_open_loop(system, sender, 2.5 * FITS, seconds) for sender in senders[:2])
            )
            stop.set()
            await asyncio.gather(*waiting)
            admitted = [*halves[0], *halves[1]]
            ratios.append((percentile(admitted, 0.99) or 0) / (percentile(normal, 0.99) or 1))
            outcome.figures["grown, MB"] = (_resident_bytes() - memory) / 1e6
            outcome.runs += 1
        await system.finish(outcome)
    _check(system, ratios, outcome, is_slice=options.is_slice)
    return outcome


def _check(system: CutSystem, ratios: list[float], outcome: Outcome, *, is_slice: bool) -> None:
    refused = dict(system.ledger.refused)
    for code in ("rate_limited", "backpressure"):
        if not refused.pop(code, 0):
            outcome.broken += 1
            outcome.offending.append(f"nothing was refused as {code}")
    if refused:
        outcome.broken += sum(refused.values())
        outcome.offending.append(f"refused as {refused}")
    median = sorted(ratios)[len(ratios) // 2]
    outcome.figures["admitted p99 against normal"] = median
    if not is_slice and median > MOST_SLOWER:
        outcome.broken += 1
        outcome.offending.append(f"the p99 of what was admitted grew {ratios} times")
    outcome.notes = f"admitted p99 {median:.2f} times the normal one; shed as rate_limited and backpressure"


async def _open_loop(system: CutSystem, sender: Client, rate: float, seconds: float) -> list[float]:
    """Send at this rate, whatever becomes of it; seconds until what was taken had its receipt."""
    took: list[float] = []
    tasks = []
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(_timed(lambda: system.send_until_known(sender, "worker"), took)))
    await asyncio.gather(*tasks)
    return took


async def _closed_loop(system: CutSystem, sender: Client, stop: asyncio.Event) -> None:
    while not stop.is_set():
        if not await system.send_until_known(sender, "worker"):
            await asyncio.sleep(0.05)


async def _timed(send: Callable[[], Awaitable[bool]], took: list[float]) -> None:
    began = time.monotonic()
    if await send():
        took.append(time.monotonic() - began)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


ROWS = [Row("r19", FAULT, run, full=5, slice=1)]
