"""End to end against plain redis-py: batches, and senders that send one at a time, a thousand at once."""

from __future__ import annotations

from benchmarks.baselines.runs import plain_rate
from benchmarks.options import Options
from benchmarks.product import ProductRun, run_product
from benchmarks.table import Row, medians
from benchmarks.workplace import workplace
from mas_core.ops.bench.load import Load

BATCH = 100
LOADS = {"batches": (16, BATCH), "one at a time, 1,000 at once": (1000, 1)}
"""Name -> bursts under way, messages in each."""


async def measure(options: Options) -> list[Row]:
    """A row for each way of sending."""
    count = options.count(60_000, 1000)
    ratios: dict[str, list[float]] = {name: [] for name in LOADS}
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in LOADS}
    async with workplace(profile=options.profile) as place:
        sender, receiver = place.names_in(0, 2)
        await place.set_policy([(sender, receiver)])
        for _ in range(options.rounds):
            for name, (concurrency, burst) in LOADS.items():
                load = Load(count=count, concurrency=concurrency, burst=burst)
                run = await run_product(place, [(sender, receiver)], load)
                plain = await plain_rate(place, count)
                ratios[name].append(run.result.rate_per_s / plain)
                figures[name].append(
                    {"mas/s": run.result.rate_per_s, "plain redis-py/s": plain, **processor_us(run)}
                )
    return [
        Row(
            f"end to end, {name}",
            "at least 3 times plain redis-py",
            ratios[name],
            at_least=3.0,
            figures=medians(figures[name]),
        )
        for name in LOADS
    ]


def processor_us(run: ProductRun) -> dict[str, float]:
    """Microseconds of processor time a message, by process."""
    return {
        "sender us": run.sender_us,
        "gateway us": run.gateway_us,
        "receiver us": run.receiver_us,
        "server us": run.server_us,
        "messages a frame": run.messages_a_frame,
        "lost": run.result.lost,
        "twice": run.result.duplicated,
    }
