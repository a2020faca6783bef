"""One sender's last hundred records out of ten million, by the index."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from benchmarks.evidence_folders import SENDERS, message_id, sender_of, write_folder
from benchmarks.options import Options
from benchmarks.table import Row
from mas_core.ops import audit
from mas_core.ops.audit import AuditFilter
from mas_core.ops.system import System
from mas_core.settings.target import Target

RECORDS = 10_000_000
WANTED = 100


async def measure(options: Options) -> list[Row]:
    """Latency of queries in this process, from the call to the hundredth record; each by another sender."""
    with tempfile.TemporaryDirectory(prefix="mas-bench-") as root:
        folder, keys = Path(root) / "audit", Path(root) / "keys"
        keys.mkdir()
        written = await asyncio.to_thread(write_folder, folder, options.count(RECORDS, 100_000))
        async with System(Target("memory://audit-query", keys_dir=keys)) as system:
            found = [await _last_of(system, sender_of(7 + number)) for number in range(options.rounds * 4)]
            rare = [
                await _timed(system, message_id(number * written.records // 9 + 1)) for number in range(9)
            ]
            denied = [await _last_of(system, sender_of(number), decision="denied") for number in range(5)]
    return [
        Row(
            f"one sender's last {WANTED} of {written.records:,} records",
            "under 100 ms",
            found,
            "ms",
            at_most=100.0,
            figures={
                "senders": SENDERS,
                "refused ones of a sender ms": statistics.median(denied),
                "by message id ms": statistics.median(rare),
                "index us a record": written.index_us,
                "index bytes a record": written.index_bytes / written.records,
                "built in s": written.seconds,
            },
        )
    ]


async def _last_of(system: System, sender: str, **more: str) -> float:
    began = time.perf_counter()
    count = 0
    async with aclosing(audit.records(system, AuditFilter(sender=sender, **more), warn=_refuse)) as records:
        async for _ in records:
            count += 1
            if count == WANTED:
                break
    assert count == WANTED or more
    return (time.perf_counter() - began) * 1000


async def _timed(system: System, identifier: str) -> float:
    began = time.perf_counter()
    assert len(await audit.get(system, identifier)) == 1
    return (time.perf_counter() - began) * 1000


def _refuse(text: str) -> None:
    if "rolled back" not in text:
        raise RuntimeError(text)
