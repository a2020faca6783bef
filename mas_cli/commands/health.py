"""`mas health`: what moves, what does not, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.ops.health.report import HealthReport


def _coloured(status: object) -> Style | None:
    return {"ok": "good", "warn": "warn"}.get(str(status), "bad")  # type: ignore[return-value]


_COLUMNS = (
    Column("name", header="component", style=lambda _: "name"),
    Column("status", style=_coloured),
    Column("since", kind="age"),
    Column("reason", flexible=True),
    Column("fix", header="try", whole=True),
)


async def health(call: Invocation) -> ExitCode:
    """Show how every part of the system is; exit code 1 when one is red.

    Parts are judged by what moves, not by what is connected: a gateway by the messages that it takes, an agent
    by those that it settles. Nothing to do is well. The limits are `health` in mas.yaml and `stuck_after` in
    an agent's spec.
    """
    async with open_system(call) as system:
        from mas_core.ops.health.check import check_health

        report = await check_health(system)
    call.out.records(_COLUMNS, _records(report))
    count = sum(item.status != "ok" for item in report.items)
    call.talk.count(f"{count} of {len(report.items)} need attention")
    return ExitCode.NO if report.status == "red" else ExitCode.OK


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
