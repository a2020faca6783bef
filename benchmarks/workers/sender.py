"""The sending process: reads a `SenderLaunch`, says `ready`, sends when told to, tells what it saw."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from mas_core.agent.client import Client
from mas_core.agent.connecting import connect
from mas_core.base.event_loop import run
from mas_core.ops.bench.load import Load, send_all
from mas_core.settings.tls_files import TlsFiles
from mas_core.store.contract import AgentSide
from mas_core.store.store import Store

STARTS_AT_ONCE = 50


class SenderLaunch(msgspec.Struct, frozen=True):
    """Who sends how much to whom."""

    url: str
    namespace: str
    partitions: int
    routes: tuple[tuple[str, str, str], ...]
    """Agent, its token, its target."""
    load: Load
    tls: dict[str, tuple[str, str, str]] = {}
    """Agent -> paths of certificate, key and authorities of those who come through a server of agents."""


class SenderReport(msgspec.Struct, frozen=True):
    """What was sent; times by message number as 64-bit integers in monotonic nanoseconds."""

    sent: bytes
    receipts: bytes
    refused: int
    failed: int
    cpu_s: float


async def _main(launch: SenderLaunch) -> None:
    starting = asyncio.Semaphore(STARTS_AT_ONCE)
    async with (
        Store(
            "memory://" if launch.tls else launch.url,
            namespace=launch.namespace,
            partitions=launch.partitions,
        ) as store,
        AsyncExitStack() as stack,
    ):

        async def start(agent: str, token: str, target: str) -> tuple[Client, str]:
            async with starting:
                reached: AgentSide = store
                if agent in launch.tls:
                    files = TlsFiles(*map(Path, launch.tls[agent]))
                    reached = (await connect(agent, launch.url, token, None, tls=files)).store
                    stack.push_async_callback(reached.close)
                return await stack.enter_async_context(Client(reached, agent, token)), target

        routes = await asyncio.gather(*(start(*item) for item in launch.routes))
        _say(b"ready")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.readline)
        sent = await send_all(routes, launch.load)
    report = SenderReport(
        sent.sent_ns.tobytes(), sent.receipt_ns.tobytes(), sent.refused, sent.failed, sent.cpu_s
    )
    _say(msgspec.json.encode(report))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    run(_main(msgspec.json.decode(sys.stdin.buffer.readline(), type=SenderLaunch)))
