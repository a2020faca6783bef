"""The hearing process: reads a `HearerLaunch`, subscribes, counts what it hears, and tells when it was done."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import msgspec

from mas_core.agent.client import Client
from mas_core.base.event_loop import run
from mas_core.store.store import Store


class HearerLaunch(msgspec.Struct, frozen=True):
    """Who hears how much."""

    url: str
    namespace: str
    partitions: int
    agents: tuple[tuple[str, str], ...]
    """Agent and its token."""
    topic: str
    count: int
    """Messages that each of them is to hear."""


class HearerReport(msgspec.Struct, frozen=True):
    """When everybody had heard everything, by the monotonic clock."""

    ended_ns: int
    cpu_s: float
    heard: int
    out_of_order: int
    gaps: int


async def _main(launch: HearerLaunch) -> HearerReport:
    counts = {agent: 0 for agent, _ in launch.agents}
    wrong = 0
    async with (
        Store(launch.url, namespace=launch.namespace, partitions=launch.partitions) as store,
        AsyncExitStack() as stack,
    ):
        subscriptions = {}
        for agent, token in launch.agents:
            client = await stack.enter_async_context(Client(store, agent, token))
            subscription = client.subscribe(launch.topic)
            subscriptions[agent] = await stack.enter_async_context(subscription)

        async def count(agent: str) -> None:
            nonlocal wrong
            expected = 0
            async for message in subscriptions[agent]:
                wrong += message.number <= expected
                expected = message.number
                counts[agent] += 1
                if counts[agent] == launch.count:
                    return

        sys.stdout.write("ready\n")
        sys.stdout.flush()
        cpu = time.process_time()
        await asyncio.gather(*map(count, subscriptions))
        ended = time.monotonic_ns()
        gaps = sum(len(subscription.gaps) for subscription in subscriptions.values())
        return HearerReport(ended, time.process_time() - cpu, sum(counts.values()), wrong, gaps)


if __name__ == "__main__":
    made = run(_main(msgspec.json.decode(sys.stdin.buffer.readline(), type=HearerLaunch)))
    sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
    sys.stdout.buffer.flush()
