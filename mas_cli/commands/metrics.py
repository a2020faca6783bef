"""`mas metrics`: the numbers of a system, as people or Prometheus read them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, watch_snapshots, watched
from mas_core.errors import AgentNotFound, UsageError

if TYPE_CHECKING:
    from mas_core.ops.health.trends import Trends
    from mas_core.ops.system import System


class MetricsFormat(StrEnum):
    """How numbers are written."""

    TABLE = "table"
    PROMETHEUS = "prometheus"
    JSON = "json"


_COLUMNS = (
    Column("name", header="metric", style=lambda _: "name"),
    Column("labels", usual=""),
    Column("value", kind="number"),
    Column("minute", header="1 m", kind="number", usual=None),
    Column("five_minutes", header="5 m", kind="number", usual=None),
)


async def metrics(
    call: Invocation,
    *,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Only what is counted of this agent.")] = "",
    format_: Annotated[
        MetricsFormat,
        typer.Option("--format", help="table follows --output; prometheus is what /metrics says."),
    ] = MetricsFormat.TABLE,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Show what /metrics of a gateway or runner would say, without asking one.

    With --watch, 1 m and 5 m are what a counter grew by in a second, and what another number was on average, over
    so much of the time that was watched.
    """
    how = watched(watch, count, duration, until)
    if format_ is MetricsFormat.PROMETHEUS and (how or agent):
        raise UsageError(
            "--format prometheus is one look at everything", hint="mas metrics --format prometheus"
        )
    async with open_system(call) as system:
        from mas_core.ops.health.check import look_once
        from mas_core.ops.health.metrics import metrics_text
        from mas_core.ops.health.trends import Trends

        if format_ is MetricsFormat.PROMETHEUS:
            call.out.write(metrics_text(*await look_once(system)).decode())
            return ExitCode.OK
        trends = Trends()
        if how:
            await watch_snapshots(call, lambda: _snapshot(system, agent, trends), how)
            return ExitCode.OK
        rows = await _rows(system, agent, trends)
    if format_ is MetricsFormat.JSON:
        call.out.document(rows)
    else:
        call.out.records(_COLUMNS, _for_people(rows) if call.out.format is Format.TABLE else rows)
    return ExitCode.OK


async def _snapshot(system: System, agent: str, trends: Trends) -> Snapshot:
    rows = await _rows(system, agent, trends)
    return Snapshot(
        (Shown(_COLUMNS, _for_people(rows), "id"),),
        Shown(_COLUMNS, rows, "id"),
        frozenset({"minute", "five_minutes"}),
    )


def _for_people(rows: list[Record]) -> list[Record]:
    return [{**row, "labels": _text(row["labels"])} for row in rows]


def _text(labels: object) -> str:
    return (
        ", ".join(f"{name}={value}" for name, value in labels.items()) if isinstance(labels, Mapping) else ""
    )


async def _rows(system: System, agent: str, trends: Trends) -> list[Record]:
    from mas_core.ops.health.check import look_once
    from mas_core.ops.health.metrics import metric_samples

    report, seen = await look_once(system)
    samples = metric_samples(report, seen, agent)
    if agent and not samples:
        raise AgentNotFound(f"there is no agent {agent!r}", hint="mas agent list")
    trends.add(seen.now, samples)
    rows: list[Record] = []
    for sample in samples:
        labels = _text(sample.labels)
        rows.append(
            {
                "name": sample.name,
                "labels": dict(sample.labels),
                "value": sample.value,
                "minute": trends.over(sample, 60),
                "five_minutes": trends.over(sample, 300),
                "counter": sample.is_counter,
                "id": f"{sample.name}{{{labels}}}" if labels else sample.name,
            }
        )
    return rows
