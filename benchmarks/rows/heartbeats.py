"""What ten thousand agents cost that do nothing but live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack

from benchmarks.options import Options
from benchmarks.table import Row, medians
from benchmarks.workplace import Workplace, workplace
from mas_core.agent.client import Client
from mas_core.model.message import ATTACH, BEAT

REGISTERED, BEATING = 10_000, 300
"""Those who beat do it as often as all would together: who beats makes no difference to its cost."""
INTERVAL_S = 30.0
SECONDS = 10.0


async def measure(options: Options) -> list[Row]:
    """Processor time of gateway and server while heartbeats come, less that without."""
    registered, beating = options.count(REGISTERED, 200), options.count(BEATING, 20)
    seconds = SECONDS if options.count(100, 10) == 100 else 2.0
    names = [f"worker-{number:05d}" for number in range(registered)]
    shares: list[float] = []
    figures: list[dict[str, float]] = []
    async with workplace(profile=options.profile) as place, AsyncExitStack() as stack:
        await place.register(names)
        await place.set_policy([])
        clients: list[tuple[Client, int]] = []
        for name in names[:beating]:
            client = await stack.enter_async_context(Client(place.system.store, name, place.tokens[name]))
            incarnation = client.now_ms()
            await client.tell(ATTACH, {"incarnation": incarnation})
            clients.append((client, incarnation))
        for _ in range(options.rounds):
            idle = await _used(place, asyncio.sleep(seconds), seconds)
            busy = await _used(place, _beat(clients, registered / INTERVAL_S, seconds), seconds)
            gateway, server = busy[0] - idle[0], busy[1] - idle[1]
            shares.append(100 * (gateway + server))
            figures.append(
                {
                    "gateway %": 100 * gateway,
                    "server %": 100 * server,
                    "gateway us a beat": gateway * 1e6 / (registered / INTERVAL_S),
                }
            )
    return [
        Row(
            f"heartbeats of {registered:,} agents, each {INTERVAL_S:g} s: gateway and server",
            "under 5 % of a core",
            shares,
            "%",
            at_most=5.0,
            figures=medians(figures),
        )
    ]


async def _used(place: Workplace, work: Awaitable[None], seconds: float) -> tuple[float, float]:
    """Share of a core that gateways and server use while something is awaited."""
    gateway, server = place.gateway_cpu_s(), place.server_cpu_s()
    await work
    return (place.gateway_cpu_s() - gateway) / seconds, (place.server_cpu_s() - server) / seconds


async def _beat(clients: list[tuple[Client, int]], rate: float, seconds: float) -> None:
    """Heartbeats as agents send them, so many a second, each of another agent than the one before."""
    loop = asyncio.get_running_loop()
    began, count, under_way = loop.time(), int(rate * seconds), set[asyncio.Task[None]]()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
        beat = asyncio.create_task(_beat_once(*clients[number % len(clients)]))
        under_way.add(beat)
        beat.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def _beat_once(client: Client, incarnation: int) -> None:
    await client.check_token()
    await client.read_clock()
    await client.tell(BEAT, {"incarnation": incarnation})
