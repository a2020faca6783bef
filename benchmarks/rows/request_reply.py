"""A request and its reply, one at a time, against one way, one at a time."""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.table import Row, medians
from benchmarks.workplace import workplace
from mas_core.ops.bench.load import Load
from mas_core.ops.bench.request import request
from mas_core.ops.bench.send import send


async def measure(options: Options) -> list[Row]:
    """One row."""
    load = Load(count=options.count(2000, 200), concurrency=1)
    ratios: list[float] = []
    figures: list[dict[str, float]] = []
    async with workplace(profile=options.profile) as place:
        for _ in range(options.rounds):
            asked = await request(place.system, load)
            sent = await send(place.system, load)
            ratios.append(asked.p50_ms / sent.handler_p50_ms)
            figures.append({"request p50 ms": asked.p50_ms, "one way p50 ms": sent.handler_p50_ms})
    return [
        Row(
            "request and reply, one at a time: median",
            "at most 2.2 times one way",
            ratios,
            at_most=2.2,
            figures=medians(figures),
        )
    ]
