"""The live pane of the dashboard: an hour at 2,000 events a second, as fast as they go, and the memory after it."""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.processes import module, worker
from benchmarks.table import Row
from benchmarks.workers.live_pane import LivePaneRun

EVENTS = 7_200_000


async def measure(options: Options) -> list[Row]:
    """Resident memory at its highest, of a process that draws all the while."""
    count = options.count(EVENTS)
    async with worker("live pane", (*module("benchmarks.workers.live_pane"), str(count))) as running:
        run = await running.answered(LivePaneRun)
    figures = {
        "events": run.seen, "kept": run.kept, "one shown in": run.sampling, "frames": run.draws,
        "MB before": run.before_mb, "MB after": run.after_mb,
    }  # fmt: skip
    lost = (
        ""
        if run.seen == count and (count < 10_000 or "1 in 2" in run.title)
        else f"the pane says {run.title!r}"
    )
    return [
        Row(
            "memory of the live pane, an hour at 2,000 events a second",
            "under 200 MB",
            [run.peak_mb],
            unit="MB",
            at_most=200.0,
            figures=figures,
            reason=lost,
        )
    ]
