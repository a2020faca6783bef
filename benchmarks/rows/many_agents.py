"""Ten thousand registered agents, a thousand of them active, against ten."""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.product import run_product
from benchmarks.table import Row, medians
from benchmarks.workplace import Workplace, workplace
from mas_core.ops.bench.discover import discover
from mas_core.ops.bench.load import Load

REGISTERED, ACTIVE, FEW = 10_000, 1_000, 10
BURST, AT_ONCE = 50, 20
"""A sender hands over 50 messages at once; 20 senders do so at any time, in turn, so the work is the same."""


async def measure(options: Options) -> list[Row]:
    """Throughput, discovery and memory."""
    registered, active = options.count(REGISTERED, 200), options.count(ACTIVE, 20)
    load = Load(count=options.count(60_000, 2000), concurrency=AT_ONCE, burst=BURST)
    ratios: list[float] = []
    figures: list[dict[str, float]] = []
    async with workplace(profile=options.profile) as small, workplace(profile=options.profile) as large:
        few = await _pairs(small, FEW, FEW)
        before = await _used_memory(large)
        names = await _registered(large, registered)
        memory = (await _used_memory(large) - before) / registered
        many = list(zip(names[: active // 2], names[active // 2 : active], strict=True))
        await large.set_policy(many)
        for _ in range(options.rounds):
            theirs = await run_product(small, few, load)
            ours = await run_product(large, many, load)
            ratios.append(ours.result.rate_per_s / theirs.result.rate_per_s)
            figures.append(
                {
                    "with many/s": ours.result.rate_per_s,
                    "with ten/s": theirs.result.rate_per_s,
                    "gateway us with many": ours.gateway_us,
                    "gateway us with ten": theirs.gateway_us,
                    "messages a frame": ours.messages_a_frame,
                }
            )
        found = [
            await discover(large.system, Load(count=options.count(300, 30), concurrency=1), agents=active)
            for _ in range(min(3, options.rounds))
        ]
    return [
        Row(
            f"{registered:,} registered agents, {active:,} active: throughput",
            "at least 0.8 times that with 10 agents",
            ratios,
            at_least=0.8,
            figures=medians(figures),
        ),
        Row(
            f"discovery by capability among them ({active:,} running): median",
            "under 5 ms",
            [item.p50_ms for item in found],
            "ms",
            at_most=5.0,
            figures=medians([{"p95 ms": item.p95_ms, "wrong": item.wrong} for item in found]),
        ),
        Row("memory of an idle agent in the server", "under 4 KB", [memory / 1024], "KB", at_most=4.0),
    ]


async def _pairs(place: Workplace, count: int, least: int) -> list[tuple[str, str]]:
    names = place.names_in(0, max(count, least))
    pairs = list(zip(names[: count // 2], names[count // 2 : count], strict=True))
    await place.set_policy(pairs)
    return pairs


async def _registered(place: Workplace, count: int) -> list[str]:
    """So many more agents, with inboxes, as if each had run once."""
    names = [f"worker-{number:05d}" for number in range(count)]
    await place.register(names)
    for name in names:
        await place.system.store.agent(name).create_inboxes()
    return names


async def _used_memory(place: Workplace) -> int:
    text = (await place.system.store.connection.call("INFO", "memory")).decode()
    return next(int(line.split(":")[1]) for line in text.split() if line.startswith("used_memory:"))
