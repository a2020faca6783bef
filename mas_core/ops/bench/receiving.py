"""Starts the receiving process of a measurement and asks it what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from mas_core.errors import AgentFailed
from mas_core.ops.system import System
from mas_core.settings.tls_files import TlsFiles

REQUEST_TYPE = "bench.request"
MAX_REPORT_BYTES = 2**30
REPORT_SECONDS = 600.0


class ReceiverLaunch(msgspec.Struct, frozen=True):
    """What the receiving process is told on its standard input."""

    url: str
    namespace: str
    partitions: int
    agents: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Id, token and capabilities of each."""
    tls: dict[str, tuple[str, str, str]] = {}
    """Id -> paths of certificate, key and authorities of those who come through a server of agents."""


class ReceiverReport(msgspec.Struct, frozen=True):
    """What the receiving process saw."""

    handled: bytes
    """By message number: monotonic nanoseconds of the first arrival as 64-bit integers, 0 when it never came."""
    duplicated: int
    cpu_s: float

    def handled_ns(self, count: int) -> array[int]:
        """The times of the first `count` numbers."""
        times = array("q")
        times.frombytes(self.handled)
        missing = count - len(times)
        return times[:count] if missing <= 0 else times + array("q", bytes(8 * missing))


class Receiving:
    """A receiving process that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def report(self, expected: int) -> ReceiverReport:
        """Let it wait until `expected` messages came, or no more come, and tell what it saw.

        Raises:
            AgentFailed: It ended without telling.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AgentFailed("the receiving process has no pipes")
        self._process.stdin.write(b"%d\n" % expected)
        async with asyncio.timeout(REPORT_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise AgentFailed("the receiving process ended before it could tell what it saw")
        return msgspec.json.decode(line, type=ReceiverReport)


@asynccontextmanager
async def receiving(
    system: System,
    agents: Sequence[tuple[str, str, tuple[str, ...]]],
    *,
    url: str = "",
    tls: Mapping[str, TlsFiles] | None = None,
) -> AsyncIterator[Receiving]:
    """A process of its own that runs these agents until the block ends.

    Args:
        system: The system.
        agents: Id, token and capabilities of each.
        url: The server of agents through which they come; they reach the store when left out.
        tls: Their certificates, where they come through one.

    Raises:
        AgentFailed: It did not start.
    """
    launch = ReceiverLaunch(
        url or system.target.url,
        system.store.namespace,
        system.store.partitions,
        tuple(agents),
        {
            name: (str(one.cert_path), str(one.key_path), str(one.ca_path))
            for name, one in (tls or {}).items()
        },
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mas_core.ops.bench.receiver",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_REPORT_BYTES,
        # Ctrl-C goes to the whole group of the terminal; this process ends when its input does.
        start_new_session=True,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise AgentFailed("the receiving process has no pipes")
        process.stdin.write(msgspec.json.encode(launch) + b"\n")
        if await process.stdout.readline() != b"ready\n":
            raise AgentFailed("the receiving process did not start")
        yield Receiving(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
