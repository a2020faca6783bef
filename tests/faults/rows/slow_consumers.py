"""R11: one agent stands still in front of a deep backlog; nobody else notices, and nothing of it is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from pathlib import Path

from mas_core.agent.client import Client
from mas_core.errors import Backpressure
from tests.faults.checker import Ledgers
from tests.faults.cut_system import CutSystem, cut_system
from tests.faults.outcome import Options, Outcome, Row, percentile
from tests.faults.zygote import Process, Zygote

FAULT = "SIGSTOP of a consumer with a backlog"
BACKLOG = 100_000
BACKLOG_OF_SLICE = 2_000
MEASURED = 500
MEASURED_OF_SLICE = 100
TOGETHER = 100
MOST_SLOWER = 1.5
SENDERS = ("left", "right")


async def run(options: Options) -> Outcome:
    """Fill the inbox of one that is stopped to its bound, measure the others, let it go on."""
    outcome = Outcome("r11", FAULT)
    bound = BACKLOG_OF_SLICE if options.is_slice else BACKLOG
    measured = MEASURED_OF_SLICE if options.is_slice else MEASURED
    ratios = []
    allow = [(sender, target) for sender in SENDERS for target in ("worker", "slow")]
    zygote = Zygote()
    async with (
        contextlib.AsyncExitStack() as stack,
        cut_system(*SENDERS, "worker", "slow", allow=allow, inbox_bound=bound) as system,
    ):
        await zygote.start()
        stack.push_async_callback(zygote.stop)
        await system.start_agent("worker")
        left, right = [await system.start_client(sender) for sender in SENDERS]
        ledger = options.folder / "ledger-slow.log"
        slow = await _start(zygote, system, options.folder, ledger)
        for _ in range(options.runs):
            before = await _latencies(system, right, measured)
            slow.signal(signal.SIGSTOP)
            await slow.stopped.wait()
            await _fill(system, left, bound, outcome)
            during = await _latencies(system, right, measured)
            slow.signal(signal.SIGCONT)
            ratios.append((percentile(during, 0.99) or 0) / (percentile(before, 0.99) or 1))
            await _until_handled(system, ledger)
            outcome.runs += 1
        for item in Ledgers.read([ledger]).handled:
            system.ledger.handled[item.message_id] += 1
        await system.finish(outcome)
    worst = max(ratios)
    outcome.figures["others' p99 against before"] = worst
    if not options.is_slice and sorted(ratios)[len(ratios) // 2] > MOST_SLOWER:
        outcome.broken += 1
        outcome.offending.append(f"the others' p99 grew {ratios} times")
    outcome.notes = f"backlog {bound:,}; others' p99 {worst:.2f} times that before at most"
    return outcome


async def _start(zygote: Zygote, system: CutSystem, folder: Path, ledger: Path) -> Process:
    process = await zygote.spawn(
        "tests.faults.load:receive", folder, folder / "slow.log", agents={"slow": system.live.tokens["slow"]},
        url=system.url, namespace=system.live.store.namespace,
        partitions=system.live.store.partitions, ledger=str(ledger),
    )  # fmt: skip
    async with asyncio.timeout(60):
        while not ledger.exists() or b"ready" not in ledger.read_bytes():
            await asyncio.sleep(0.02)
    return process


async def _latencies(system: CutSystem, sender: Client, count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.monotonic()
        await system.send_until_known(sender, "worker")
        found.append(time.monotonic() - began)
    return found


async def _fill(system: CutSystem, sender: Client, bound: int, outcome: Outcome) -> None:
    """Send until it is refused; that has to be at the bound, as back-pressure."""
    sent = 0
    for _ in range(2 * bound // TOGETHER):
        ids = [f"m-{next(system._numbers)}" for _ in range(TOGETHER)]
        payloads = [{"n": number} for number in range(TOGETHER)]
        receipts = await sender.send_many("slow", "load.item", payloads, message_ids=ids)
        taken = {item.message_id for item in receipts if item.decision.is_delivered}
        system.ledger.acknowledged |= taken
        sent += len(taken)
        if len(taken) < TOGETHER:
            break
    try:
        while True:
            receipt = await sender.send("slow", "load.item", {"n": 0})
            system.ledger.acknowledged.add(receipt.message_id)
            sent += 1
    except Backpressure:
        system.ledger.refused["backpressure"] += 1
    if sent > bound:
        outcome.broken += 1
        outcome.offending.append(f"{sent} were taken, and the bound is {bound}")


async def _until_handled(system: CutSystem, ledger: Path) -> None:
    async with asyncio.timeout(600):
        while True:
            seen = {item.message_id for item in Ledgers.read([ledger]).handled}
            if not system.ledger.acknowledged - seen - set(system.ledger.handled):
                return
            await asyncio.sleep(0.2)


ROWS = [Row("r11", FAULT, run, full=5, slice=1)]
