"""R10: the disk of the server, or of a required audit file, is full; nothing goes on unrecorded, and it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mas_core.errors import MasError
from mas_core.store.embedded_server import EmbeddedServer, ServerEvent
from tests.faults.cut_system import CutSystem, cut_system
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.small_disk import SmallDisk, why_not

FAULT_SERVER = "disk of the server full (durable)"
FAULT_FILE = "disk of a required audit file full"
MEGABYTE = 1 << 20
ALARM_S = 5
SENDERS = ("left", "right")
ALLOWED = [(sender, "worker") for sender in SENDERS]


async def run_server(options: Options) -> Outcome:
    """The server ends, which is told at once with the reason; with more room it goes on where it was."""
    outcome = Outcome("r10-server", FAULT_SERVER)
    outcome.skipped = why_not()
    if outcome.skipped:
        return outcome
    size = (8 if options.is_slice else 64) * MEGABYTE
    for number in range(options.runs):
        folder = options.folder / str(number)
        events: list[tuple[float, ServerEvent]] = []
        with SmallDisk(folder / "disk", size) as disk:
            server = EmbeddedServer(
                folder / "disk" / "server", folder / "run", folder / "keys",
                on_event=lambda event, events=events: events.append((time.monotonic(), event)),
            )  # fmt: skip
            async with cut_system(*SENDERS, "worker", allow=ALLOWED, server=server) as system:
                await system.start_agent("worker")

                def has_ended(events: list[tuple[float, ServerEvent]] = events) -> bool:
                    return any(event.kind == "exited" for _, event in events)

                began = await _fill(system, has_ended)
                told = next((at for at, event in events if event.kind == "exited"), None)
                if told is None or told - began > ALARM_S:
                    _broken(outcome, "the end of the server was not told")
                elif (
                    "the disk that holds"
                    not in next(event for _, event in events if event.kind == "exited").message
                ):
                    _broken(outcome, f"it was not told why: {[event.message for _, event in events]}")
                disk.enlarge(16 * size)
                await _heal(system, outcome)
                await system.finish(outcome)
        outcome.runs += 1
    outcome.notes = "told at once, with the reason"
    return outcome


async def run_file(options: Options) -> Outcome:
    """Everything is refused and the gateway's alarms say why; with more room it goes on by itself."""
    outcome = Outcome("r10-file", FAULT_FILE)
    outcome.skipped = why_not()
    if outcome.skipped:
        return outcome
    for number in range(options.runs):
        with SmallDisk(options.folder / f"disk-{number}", 4 * MEGABYTE) as disk:
            audit = {
                "files": [disk.folder / "audit.jsonl"],
                "require": "all",
                "max_file_bytes": 100 * MEGABYTE,
            }
            async with cut_system(*SENDERS, "worker", allow=ALLOWED, audit=audit) as system:
                await system.start_agent("worker")
                # What else is on the disk leaves little room.
                (disk.folder / "other").write_bytes(bytes(3 * MEGABYTE + MEGABYTE // 2))

                def is_refused(system: CutSystem = system) -> bool:
                    return bool(system.ledger.refused)

                began = await _fill(system, is_refused)
                while not (
                    alarms := [text for item in await system.live.system.gateways() for text in item.alarms]
                ):
                    if time.monotonic() - began > ALARM_S:
                        _broken(outcome, "there is no alarm")
                        break
                    await asyncio.sleep(0.05)
                if set(system.ledger.refused) != {"store_full"}:
                    _broken(outcome, f"refused as {dict(system.ledger.refused)}, with {alarms}")
                disk.enlarge(64 * MEGABYTE)
                await _heal(system, outcome)
                await system.finish(outcome)
        outcome.runs += 1
    outcome.notes = "an alarm of the gateway says which file"
    return outcome


async def _fill(system: CutSystem, is_full: Callable[[], bool]) -> float:
    """Send until the disk is full; when that was."""
    senders = [await system.start_client(sender) for sender in SENDERS]
    system.senders = senders
    began = time.monotonic()
    for number in range(20_000):
        if is_full():
            return time.monotonic()
        message_ids = [f"m-{next(system._numbers)}" for _ in range(20)]
        try:
            receipts = await senders[number % 2].send_many(
                "worker", "load.item", [{"text": "x" * 3_000}] * 20, message_ids=message_ids, timeout=1
            )
        except MasError:
            continue
        for item in receipts:
            if item.decision.is_delivered:
                system.ledger.acknowledged.add(item.message_id)
            else:
                system.ledger.refused[str(item.decision)] += 1
    raise AssertionError(f"the disk is not full after {time.monotonic() - began:.0f} s")


async def _heal(system: CutSystem, outcome: Outcome) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 60:
        try:
            if await system.send_until_known(system.senders[0], "worker", timeout=2):
                outcome.recovery_ms.append((time.monotonic() - began) * 1000)
                return
        except MasError:
            pass
        await asyncio.sleep(0.05)
    _broken(outcome, "it did not heal although there is room")


def _broken(outcome: Outcome, why: str) -> None:
    outcome.broken += 1
    outcome.offending.append(why)


ROWS = [
    Row("r10-server", FAULT_SERVER, run_server, full=20, slice=1),
    Row("r10-file", FAULT_FILE, run_file, full=20, slice=1),
]
