"""The receiving process of a measurement: runs its agents, answers requests, notes when each message came.

It reads a `ReceiverLaunch` from its input, writes `ready` once its agents run, reads how many messages to wait
for, and writes a `ReceiverReport`.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from array import array
from pathlib import Path

import msgspec

from mas_core.agent.agent import Agent
from mas_core.base.event_loop import run
from mas_core.model.message import AgentMessage
from mas_core.ops.bench.load import MESSAGE_TYPE
from mas_core.ops.bench.receiving import REQUEST_TYPE, ReceiverLaunch, ReceiverReport
from mas_core.settings.tls_files import TlsFiles

PATIENCE_S = 10.0
"""How long messages may fail to come before the rest counts as lost."""
AFTERMATH_S = 0.3
"""How long to look for messages that come twice after the last one came."""
STARTS_AT_ONCE = 50


class Tally:
    """What all agents of this process have seen."""

    def __init__(self) -> None:
        self.handled_ns = array("q")
        self.duplicated = 0
        self.distinct = 0

    def note(self, number: int) -> None:
        """Note the time of the first arrival."""
        missing = number + 1 - len(self.handled_ns)
        if missing > 0:
            self.handled_ns.frombytes(bytes(8 * (missing + 4096)))
        if self.handled_ns[number]:
            self.duplicated += 1
        else:
            self.handled_ns[number] = time.monotonic_ns()
            self.distinct += 1


class Receiver(Agent[dict[str, object]]):
    """Counts what it gets."""

    tally: Tally

    @Agent.on(MESSAGE_TYPE)
    async def take(self, message: AgentMessage) -> None:
        """Note a message."""
        number = message.data["number"]
        if isinstance(number, int):
            self.tally.note(number)

    @Agent.on(REQUEST_TYPE)
    async def answer(self, message: AgentMessage) -> dict[str, object]:
        """Answer a request with its own number."""
        number = message.data["number"]
        if isinstance(number, int):
            self.tally.note(number)
        return {"number": number}


async def _main(launch: ReceiverLaunch) -> None:
    _open_many_files()
    tally = Tally()
    starting = asyncio.Semaphore(STARTS_AT_ONCE)
    async with contextlib.AsyncExitStack() as stack:

        async def start(agent_id: str, token: str, capabilities: tuple[str, ...]) -> None:
            agent = Receiver(
                agent_id,
                redis_url=launch.url,
                namespace=launch.namespace,
                partitions=launch.partitions,
                tls=TlsFiles(*map(Path, launch.tls[agent_id])) if agent_id in launch.tls else None,
                token=token,
                capabilities=capabilities,
                max_in_flight=256,
            )
            agent.tally = tally
            async with starting:
                await stack.enter_async_context(agent)

        await asyncio.gather(*(start(*item) for item in launch.agents))
        _say(b"ready")
        cpu = time.process_time()
        line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)
        if line:
            await _until_all_came(tally, int(line))
            cpu = time.process_time() - cpu
            # Told before the agents say goodbye, which is not part of what is measured.
            _say(msgspec.json.encode(ReceiverReport(tally.handled_ns.tobytes(), tally.duplicated, cpu)))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _open_many_files() -> None:
    """Let this process have as many connections as it may: each agent needs three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _until_all_came(tally: Tally, expected: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    before = tally.distinct
    while tally.distinct < expected and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
        if tally.distinct != before:
            before = tally.distinct
            deadline = time.monotonic() + PATIENCE_S
    await asyncio.sleep(AFTERMATH_S)


if __name__ == "__main__":
    run(_main(msgspec.json.decode(sys.stdin.buffer.readline(), type=ReceiverLaunch)))
