"""`mas check`: single things measured against limits, for people and for monitoring."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import admit, project_of, target_of
from mas_cli.invocation import Invocation
from mas_cli.output.check_reports import nagios_code, nagios_text, prometheus_text, unknown_text
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import ConfigurationError, MasError, Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mas_core.ops.checks.finding import Result


class CheckFormat(StrEnum):
    """How results are written."""

    TEXT = "text"
    NAGIOS = "nagios"
    PROMETHEUS = "prometheus"
    JSON = "json"


def _coloured(status: object) -> Style | None:
    return {"ok": "good", "warn": "warn"}.get(str(status), "bad")  # type: ignore[return-value]


_COLUMNS = (
    Column("check", style=lambda _: "name"),
    Column("status", style=_coloured),
    Column("value", kind="number"),
    Column("message", header="found", flexible=True),
    Column("fix", header="try", whole=True, usual=""),
)
_LISTED = (
    Column("check", style=lambda _: "name"),
    Column("summary", header="what", flexible=True),
    Column("needs"),
    Column("unit", usual=""),
    Column("warn", kind="number"),
    Column("crit", kind="number"),
)


async def check(
    call: Invocation,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="CHECK", help="What to check; everything when left out.")
    ] = None,
    *,
    warn: Annotated[
        float | None, typer.Option(metavar="N", help="From here on a warning; for one check that measures.")
    ] = None,
    crit: Annotated[
        float | None, typer.Option(metavar="N", help="From here on it fails; for one check that measures.")
    ] = None,
    format_: Annotated[
        CheckFormat,
        typer.Option("--format", help="text follows --output; nagios and prometheus are for these."),
    ] = CheckFormat.TEXT,
    list_: Annotated[
        bool, typer.Option("--list", help="Show which checks there are, and their limits.")
    ] = False,
) -> ExitCode:
    """Check single things, a line each, with limits that monitoring sets.

    Exit code 1 when one failed; a warning alone is 0, and what cannot be found out is 2, 3 or 6. This is the one
    command that ends otherwise when asked: with --format nagios 0 is OK, 1 WARNING, 2 CRITICAL and 3 UNKNOWN.
    """
    try:
        return await _check(call, names or [], warn, crit, format_, listing=list_)
    except MasError as error:
        if format_ is not CheckFormat.NAGIOS:
            raise
        call.out.write(unknown_text(error))
        return ExitCode(3)


async def _check(
    call: Invocation,
    names: Sequence[str],
    warn: float | None,
    crit: float | None,
    format_: CheckFormat,
    *,
    listing: bool,
) -> ExitCode:
    from mas_core.ops.checks import table
    from mas_core.ops.checks.look import look

    checks = table.chosen(names)
    if warn is not None or crit is not None:
        if len(checks) != 1:
            raise UsageError("--warn and --crit are of one check", hint="mas check lag --warn 30 --crit 300")
        checks = (table.bounded(checks[0], warn, crit),)
    if listing:
        rows: list[Record] = [
            {
                "check": item.name,
                "summary": item.summary,
                "needs": item.needs,
                "unit": item.unit,
                "warn": item.bounds.warn if item.bounds else None,
                "crit": item.bounds.red if item.bounds else None,
            }
            for item in checks
        ]
        call.out.records(_LISTED, rows)
        return ExitCode.OK
    # What is wrong with the system itself is what the checks tell.
    with contextlib.suppress(Unreachable, ConfigurationError):
        await admit(call)
    seen = await look(lambda: target_of(call.flags), project_of(call.flags), {item.needs for item in checks})
    if seen.trouble is not None and not all(seen.has(item.needs) for item in checks):
        raise seen.trouble
    results = table.carry_out(checks, seen)
    _write(call, results, format_)
    if format_ is CheckFormat.NAGIOS:
        return nagios_code(results)
    return ExitCode.NO if any(item.status == "red" for item in results) else ExitCode.OK


def _write(call: Invocation, results: Sequence[Result], format_: CheckFormat) -> None:
    match format_:
        case CheckFormat.NAGIOS:
            call.out.write(nagios_text(results))
        case CheckFormat.PROMETHEUS:
            call.out.write(prometheus_text(results))
        case CheckFormat.JSON:
            call.out.document([_row(item) for item in results])
        case _:
            call.out.records(_COLUMNS, [_row(item) for item in results])


def _row(result: Result) -> Record:
    return {
        "check": result.check.name,
        "status": result.status,
        "value": None if result.value is None else round(result.value, 4),
        "unit": result.check.unit,
        "warn": result.bounds.warn if result.bounds else None,
        "crit": result.bounds.red if result.bounds else None,
        "message": result.worst.message,
        "fix": result.worst.fix,
        "findings": [
            {"status": item.status, "message": item.message, "fix": item.fix} for item in result.findings
        ],
    }
