"""`mas health`: what moves, what does not, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.watching import (
    Count,
    For,
    Shown,
    Snapshot,
    Until,
    Watch,
    Watched,
    snapshot,
    watch_snapshots,
    watched,
)

if TYPE_CHECKING:
    from mas_core.ops.health.report import HealthReport
    from mas_core.ops.system import System


def _coloured(status: object) -> Style | None:
    return {"ok": "good", "warn": "warn"}.get(str(status), "bad")  # type: ignore[return-value]


_COLUMNS = (
    Column("name", header="component", style=lambda _: "name"),
    Column("status", style=_coloured),
    Column("since", kind="age"),
    Column("reason", flexible=True),
    Column("fix", header="try", whole=True),
)


async def health(
    call: Invocation, *, watch: Watch = None, count: Count = None, duration: For = None, until: Until = None
) -> ExitCode:
    """Show how every part of the system is; exit code 1 when one is red.

    Parts are judged by what moves, not by what is connected: a gateway by the messages that it takes, an agent
    by those that it settles. Nothing to do is well. The limits are `health` in mas.yaml and `stuck_after` in
    an agent's spec. With --watch the exit code is that of the last look.
    """
    how = watched(watch, count, duration, until)
    async with open_system(call) as system:
        from mas_core.ops.health.check import check_health

        report = await check_health(system) if how is None else await _watch(call, system, how)
    if how is None:
        call.out.records(_COLUMNS, _records(report))
    count = sum(item.status != "ok" for item in report.items)
    call.talk.count(f"{count} of {len(report.items)} need attention")
    return ExitCode.NO if report.status == "red" else ExitCode.OK


async def _watch(call: Invocation, system: System, how: Watched) -> HealthReport:
    """Look until the end; the last report."""
    from mas_core.ops.health.check import check_health

    newest: HealthReport | None = None

    async def look() -> Snapshot:
        nonlocal newest
        newest = await check_health(system)
        # Reasons tell how long ago something was; that alone is no news.
        return snapshot(Shown(_COLUMNS, _records(newest)), unsteady=frozenset({"reason"}))

    await watch_snapshots(call, look, how)
    return newest or await check_health(system)


def _records(report: HealthReport) -> list[dict[str, object]]:
    return [
        {
            "name": item.name,
            "status": item.status,
            "since": moment(item.since),
            "reason": item.reason,
            "fix": item.fix,
        }
        for item in report.items
    ]
