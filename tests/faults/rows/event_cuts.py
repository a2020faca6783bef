"""R17, for events: a writer is killed, or its files are cut at a random byte, and the store is read again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from mas_core.events.consumers import load_snapshot, save_snapshot
from mas_core.events.database import Database
from mas_core.events.query import EventQuery
from mas_core.events.store import EventStore
from mas_core.model.cloud_events import encode_cloudevent
from mas_core.model.event import Event
from tests.faults.outcome import Options, Outcome, Row

FAULT = "event store cut at random bytes, writer killed"
CUTS_OF_A_KILL = 50
NAME = "events.sqlite"


async def run(options: Options) -> Outcome:
    """Kill a writer now and then, and cut copies of what it left at random bytes of its log."""
    outcome = Outcome("r17-events", FAULT)
    chance = random.Random(options.seed)
    kills = 0
    while outcome.runs < options.runs:
        folder = options.folder / f"writer-{kills}"
        acknowledged = await _killed_writer(folder, chance)
        kills += 1
        outcome.acknowledged += len(acknowledged)
        began = time.monotonic()
        await _check(folder, len(acknowledged), chance, outcome, f"kill {kills}")
        outcome.recovery_ms.append((time.monotonic() - began) * 1000)
        outcome.runs += 1
        for _ in range(min(CUTS_OF_A_KILL, options.runs - outcome.runs)):
            await _cut(folder, acknowledged, chance, outcome)
            outcome.runs += 1
        shutil.rmtree(folder)
    outcome.notes = (
        f"{outcome.runs - kills} cuts, {kills} kills; the same bytes from 0 and from a snapshot, "
        "nothing of what the file had when it was acknowledged is missing"
    )
    return outcome


async def _killed_writer(folder: Path, chance: random.Random) -> list[int]:
    """Kill a writer at some moment; for each event that it acknowledged how long the log was by then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(chance.uniform(0.1, 0.8))
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    told = await process.stdout.read()
    await process.wait()
    shutil.copytree(folder, folder / "left")
    return [int(line) for line in told.splitlines(keepends=True) if line.endswith(b"\n")]


async def _cut(folder: Path, acknowledged: list[int], chance: random.Random, outcome: Outcome) -> None:
    """As after a power cut: the log ends at some byte, and the index over it, which is only memory, is gone."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "left", copy)
    (copy / f"{NAME}-shm").unlink(missing_ok=True)
    log = copy / f"{NAME}-wal"
    at = chance.randint(acknowledged[0] if acknowledged else 0, log.stat().st_size)
    os.truncate(log, at)
    expected = sum(1 for size in acknowledged if size <= at)
    await _check(copy, expected, chance, outcome, f"cut at byte {at}")


async def _check(folder: Path, least: int, chance: random.Random, outcome: Outcome, where: str) -> None:
    """What is there is what was written up to some event, and its state the same from wherever it is made."""
    async with EventStore(folder / NAME) as store:
        head = await store.head()
        numbers = [event.data["n"] async for _, event in store.query() if isinstance(event.data, dict)]
        if head < least:
            outcome.lost += least - head
            outcome.offending.append(f"{where}: {least} were acknowledged, and {head} are there")
        if numbers != list(range(1, head + 1)):
            outcome.broken += 1
            outcome.offending.append(f"{where}: {len(numbers)} events for the head {head}")
            return
        await save_snapshot(store, "half", at := chance.randint(0, head), await _state(store, 0, at, b""))
        snapshot = await load_snapshot(store, "half")
        whole = await _state(store, 0, head, b"")
        if whole != await _state(store, snapshot[0], head, snapshot[1]) or whole != _expected(head):
            outcome.broken += 1
            outcome.offending.append(f"{where}: the state from {at} is another than from 0")
        if await store.append(Event("next", "writer")) != head + 1:
            outcome.broken += 1
            outcome.offending.append(f"{where}: the next event has another number than {head + 1}")


async def _state(store: EventStore, after: int, last: int, state: bytes) -> bytes:
    async for seq, event in store.query(EventQuery(after=after)):
        if seq > last:
            break
        state = _fold(state, event)
    return state


def _fold(state: bytes, event: Event) -> bytes:
    total = json.loads(state) if state else {"count": 0, "sum": 0, "digest": ""}
    assert isinstance(event.data, dict)
    total["count"] += 1
    total["sum"] += event.data["n"]
    total["digest"] = hashlib.sha256(total["digest"].encode() + encode_cloudevent(event)).hexdigest()
    return json.dumps(total).encode()


def _expected(head: int) -> bytes:
    state = b""
    for number in range(1, head + 1):
        state = _fold(state, _event(number))
    return state


def _event(number: int) -> Event:
    return Event(
        f"order.{number % 3}",
        "writer",
        {"n": number, "text": "x" * (number * 37 % 700)},
        id=f"e{number}",
        time=number,
    )


async def _numbers() -> AsyncIterator[list[int]]:
    number, size = 1, 1
    while True:
        yield list(range(number, number + size))
        number, size = number + size, size % 7 + 1


async def _write(folder: Path) -> None:
    """What is killed: appends batches, and prints how long the log is when one is acknowledged."""
    async with EventStore(folder / NAME) as store:
        # One log for all, so that every commit can be cut.
        await store.run(_never_checkpoint)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        async for batch in _numbers():
            await store.append_many([_event(number) for number in batch])
            size = (folder / f"{NAME}-wal").stat().st_size
            sys.stdout.write("".join(f"{size}\n" for _ in batch))
            sys.stdout.flush()


def _never_checkpoint(database: Database) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql("PRAGMA wal_autocheckpoint=0")


ROWS = [Row("r17-events", FAULT, run, full=1_000, slice=20)]

if __name__ == "__main__":
    asyncio.run(_write(Path(sys.argv[1])))
