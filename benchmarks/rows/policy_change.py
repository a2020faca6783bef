"""How soon a changed policy decides on every gateway: two gateways, four partitions."""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.table import Row, medians
from benchmarks.workplace import workplace
from mas_core.ops.bench.policy import policy


async def measure(options: Options) -> list[Row]:
    """The share of decisions that turned within 200 ms of the start of a change."""
    async with workplace(partitions=4, gateways=2, profile=options.profile) as place:
        found = [await policy(place.system, changes=options.count(60, 4)) for _ in range(options.rounds)]
    late = sum(item.late for item in found)
    return [
        Row(
            "policy change in force within 200 ms, two gateways, four partitions",
            "at least 99 %",
            [item.within_200ms_percent for item in found],
            "%",
            at_least=99.0,
            figures={
                **medians(
                    [
                        {
                            "p50 ms": item.p50_ms,
                            "p99 ms": item.p99_ms,
                            "max ms": item.max_ms,
                            "until the change returned p50 ms": item.change_p50_ms,
                        }
                        for item in found
                    ]
                ),
                "decisions under the old policy after it returned": late,
            },
        )
    ]
