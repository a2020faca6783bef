"""Processes of a measurement: they are told and tell lines of JSON, and their processor time is counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

ROOT = Path(__file__).parent.parent
MAX_LINE = 2**30
START_SECONDS = 60.0
RUN_SECONDS = 900.0

Answer = TypeVar("Answer")


_ERROR = re.compile(r"[\w.]*(Error|Exception|Failed|Refused|Invalid)\b")


class ProcessFailed(Exception):
    """A process of the measurement ended, or said something else than it should."""


def cpu_seconds(pid: int) -> float:
    """Processor time of a process; 0 where the system does not tell.

    The scheduler's own count of each thread is exact; where there is none, ticks of 10 ms have to do.
    """
    try:
        return sum(
            int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
        ) / 1e9 or _ticked_seconds(pid)
    except (OSError, ValueError, IndexError):
        return _ticked_seconds(pid)


def _ticked_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Worker:
    """A process that says `ready`, is told to go, and tells what it saw."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, errors: BinaryIO) -> None:
        self.name = name
        self.process = process
        self._errors = errors

    async def told(self, line: bytes) -> None:
        """Write a line to it."""
        if self.process.stdin is not None:
            self.process.stdin.write(line + b"\n")
            await self.process.stdin.drain()

    async def heard(self, seconds: float = RUN_SECONDS) -> bytes:
        """The next line from it.

        Raises:
            ProcessFailed: It ended, or said nothing in time.
        """
        if self.process.stdout is None:
            raise ProcessFailed(f"{self.name} has no output")
        try:
            async with asyncio.timeout(seconds):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise ProcessFailed(f"{self.name} said nothing for {seconds:g} s") from None
        if not line:
            raise ProcessFailed(f"{self.name} ended: {self._last_words()}")
        return line

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip(" |+-") for line in lines if line.strip(" |+-")]
        errors = [line for line in said if _ERROR.match(line)]
        return (errors or said or ["it wrote no error"])[-1]

    async def answered(self, kind: type[Answer]) -> Answer:
        """What it tells at the end; raises as `heard` does."""
        return msgspec.json.decode(await self.heard(), type=kind)


@asynccontextmanager
async def worker(
    name: str,
    command: Sequence[str],
    launch: object = None,
    *,
    environment: dict[str, str] | None = None,
    ready: bytes = b"ready\n",
    grace_s: float = 5.0,
) -> AsyncIterator[Worker]:
    """A process with this command that ends with the block.

    Args:
        name: What it is called in errors.
        command: What to run.
        launch: What it is told first.
        environment: Variables beside ours.
        ready: What it says when it can go.
        grace_s: Seconds that it has to end by itself when its input ends.

    Raises:
        ProcessFailed: It did not start.
    """
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            limit=MAX_LINE,
            start_new_session=True,
        )
        made = Worker(name, process, errors)
        try:
            if launch is not None:
                await made.told(msgspec.json.encode(launch))
            while (line := await made.heard(START_SECONDS)) != ready:
                if line.startswith(b"error"):
                    raise ProcessFailed(f"{name}: {line.decode().strip()}")
            yield made
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), grace_s)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                await process.wait()


def module(name: str) -> tuple[str, ...]:
    """The command that runs a module with our Python."""
    return (sys.executable, "-m", name)
