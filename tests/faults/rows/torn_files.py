"""R6: the append-only file is cut at every byte of its last commits, and bits of its audit records are flipped."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from pathlib import Path
from typing import Self

from mas_core.errors import InternalError
from mas_core.ops import audit
from mas_core.ops.system import System
from mas_core.settings.target import Target
from tests.faults.append_only_file import Unit, file_of, units
from tests.faults.outcome import Options, Outcome, Row
from tests.faults.server import Server
from tests.faults.world import Plan, World

TORN = "append-only file cut at every byte of 3 commits"
FLIPPED = "a bit of an audit record flipped in the file"
COMMITS = 3
LOAD_S = 1.0
SHOWN = 20
"""Cuts that are told one by one."""


async def run_torn(options: Options) -> Outcome:
    """What is there after a cut is what was there after some commit: all of it or nothing."""
    outcome = Outcome("r6-torn", TORN)
    data = await _killed_under_load(options)
    async with _Reloaded(options.folder / "copy", data) as copy:
        last = [unit for unit in copy.units if unit.is_commit][-COMMITS:]
        found = [unit for unit in copy.units if unit.end >= last[0].start]
        first, end = last[0].start, last[-1].end
        # Once for each border; everything in between has to be like the border before it.
        digests = {border: await copy.digest(border) for border in [first, *(unit.end for unit in found)]}
        step = max(1, (end - first) // options.runs)
        near = {border + away for border in digests for away in (-1, 0, 1)}
        offsets = sorted({*range(first, end + 1, step), *(item for item in near if first <= item <= end)})
        for offset in offsets:
            border = max(item for item in digests if item <= offset)
            outcome.runs += 1
            if await copy.digest(offset) != digests[border]:
                outcome.broken += 1
                if outcome.broken <= SHOWN:
                    outcome.offending.append(f"cut at byte {offset}: not what was there at {border}")
        if len(set(digests.values())) < COMMITS:
            outcome.broken += 1
            outcome.offending.append("commits that change nothing prove nothing")
        outcome.notes = f"{COMMITS} commits of {end - first:,} bytes, every {step} bytes"
    return outcome


async def run_flipped(options: Options) -> Outcome:
    """`audit verify` finds each."""
    outcome = Outcome("r6-flipped", FLIPPED)
    data = await _killed_under_load(options)
    chance = random.Random(options.seed)
    async with _Reloaded(options.folder / "copy", data) as copy:
        if not await copy.verifies(copy.text, options.folder):
            outcome.broken += 1
            outcome.offending.append("the file does not verify even before a bit is flipped")
        spans = [span for unit in copy.units if unit.is_commit for span in _audit_spans(copy.text, unit)]
        for _ in range(options.runs):
            start, end = chance.choice(spans)
            place, bit = chance.randrange(start, end), chance.randrange(8)
            flipped = bytearray(copy.text)
            flipped[place] ^= 1 << bit
            outcome.runs += 1
            if await copy.verifies(bytes(flipped), options.folder):
                outcome.broken += 1
                outcome.offending.append(f"bit {bit} of byte {place} was flipped and not found")
        outcome.notes = f"{outcome.runs - outcome.broken} found"
    return outcome


def _audit_spans(text: bytes, unit: Unit) -> list[tuple[int, int]]:
    """Where the texts of audit records are in the file."""
    found = []
    for command in unit.commands:
        if command[0] == b"XADD" and command[1].endswith(b":audit"):
            block = command[-1]
            start = text.index(block, unit.start, unit.end)
            found.append((start, start + len(block)))
    return found


async def _killed_under_load(options: Options) -> Path:
    """The folder of a server that was killed while messages were delivered."""
    plan = Plan(partitions=1, gateways=1, receiver_processes=1, sender_processes=1, rate=60)
    async with World(options, plan) as world:
        await asyncio.sleep(LOAD_S)
        await world.server.kill()
        return world.server.data


class _Reloaded:
    """A server over a copy of a folder, which loads it again as often as it is asked."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._server = Server(folder, options={"enable-debug-command": "yes", "appendfsync": "no"})
        shutil.copytree(data, self._server.data)
        self._file = file_of(self._server.data)
        self.text = self._file.read_bytes()
        self.units = units(self.text)

    async def __aenter__(self) -> Self:
        await self._server.start()
        self._system = System(Target(self._server.url))
        # Keys whose time ends while files are compared would make a difference that no cut has made.
        await self._system.store.connection.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._system.store.close()
        await self._server.kill()

    async def _load(self, text: bytes) -> None:
        self._file.write_bytes(text)
        # It says that there was an error when the end was cut off, and has loaded everything before.
        with contextlib.suppress(InternalError):
            await self._system.store.connection.call("DEBUG", "LOADAOF")

    async def digest(self, size: int) -> bytes:
        """A digest of everything in the store when the file ends here."""
        await self._load(self.text[:size])
        digest = await self._system.store.connection.call("DEBUG", "DIGEST")
        assert isinstance(digest, bytes)
        return digest

    async def verifies(self, text: bytes, folder: Path) -> bool:
        """Whether `audit verify` finds nothing wrong in a store with this file."""
        await self._load(text)
        async with System(Target(self._server.url, keys_dir=folder / ".mas" / "keys")) as system:
            return all(item.result.ok for item in await audit.verify(system))


ROWS = [
    Row("r6-torn", TORN, run_torn, full=100_000, slice=300),
    Row("r6-flipped", FLIPPED, run_flipped, full=1_000, slice=20),
]
