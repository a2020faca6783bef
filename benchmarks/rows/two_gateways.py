"""Two gateways with two partitions against one gateway with both."""

from __future__ import annotations

import asyncio
import os

from benchmarks.options import Options
from benchmarks.product import run_product
from benchmarks.table import Row, medians
from benchmarks.workplace import Workplace, workplace
from mas_core.ops.bench.load import Load

CORES_TO_SPARE = 7
"""Two senders, two gateways, two receivers and the server."""


async def measure(options: Options) -> list[Row]:
    """The gain, by throughput where there are cores for all, else by processor time."""
    has_cores = len(os.sched_getaffinity(0)) >= CORES_TO_SPARE
    load = Load(count=options.count(30_000, 1000), concurrency=8, burst=100)
    gains: list[float] = []
    figures: list[dict[str, float]] = []
    async with (
        workplace(partitions=2, profile=options.profile) as one,
        workplace(partitions=2, gateways=2, profile=options.profile) as two,
    ):
        for _ in range(options.rounds):
            rate_of_one, us_of_one = await _run(one, load)
            rate_of_two, us_of_two = await _run(two, load)
            gains.append(rate_of_two / rate_of_one if has_cores else 2 * us_of_one / us_of_two)
            figures.append(
                {
                    "one gateway us": us_of_one,
                    "two gateways us": us_of_two,
                    "one gateway/s": rate_of_one,
                    "two gateways/s": rate_of_two,
                }
            )
    return [
        Row(
            "two gateways, two partitions",
            "at least 1.8 times one",
            gains,
            at_least=1.8,
            figures=medians(figures),
            note=""
            if has_cores
            else f"by processor time: {CORES_TO_SPARE} cores are needed to show it otherwise",
        )
    ]


async def _run(place: Workplace, load: Load) -> tuple[float, float]:
    """Messages a second over both partitions, and microseconds of all gateways for each."""
    routes = [(names[0], names[1]) for names in (place.names_in(0, 2), place.names_in(1, 2))]
    await place.set_policy(routes)
    before = place.gateway_cpu_s()
    runs = await asyncio.gather(*(run_product(place, [route], load) for route in routes))
    used = place.gateway_cpu_s() - before
    total = sum(run.result.sent for run in runs)
    return sum(run.result.rate_per_s for run in runs), used / total * 1e6
