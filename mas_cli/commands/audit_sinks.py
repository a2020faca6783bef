"""`mas audit sinks`: the files that get a copy of the audit."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import typer

from mas_cli.connection import required_project
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode

_SINKS = (
    Column("kind"),
    Column("path", flexible=True),
    Column("required"),
    Column("last_seq", kind="number"),
    Column("files", kind="number"),
    Column("bytes", kind="number"),
    Column("problem", flexible=True),
)
_DAYS = (
    Column("day"),
    Column("kind"),
    Column("entries", kind="number"),
    Column("bytes", kind="number"),
    Column("path", flexible=True),
)
_KINDS = (
    Column("kind"),
    Column("days", kind="number"),
    Column("entries", kind="number"),
    Column("bytes", kind="number"),
)
_REMOVED = (Column("path", flexible=True),)


def list_sinks(call: Invocation) -> ExitCode:
    """Show the files that get a copy of each record, and how far each got."""
    from mas_core.ops import audit_sinks

    found = audit_sinks.list_sinks(required_project(call.flags))
    call.out.records(
        _SINKS,
        [
            {**{name: getattr(item, name) for name in item.__slots__}, "path": str(item.path)}
            for item in found
        ],
    )
    if not found:
        call.talk.say("no files are set: gateway.audit.files and gateway.audit.daily in mas.yaml name them")
    return ExitCode.NO if any(item.problem for item in found) else ExitCode.OK


def stats(
    call: Invocation,
    *,
    by_kind: Annotated[bool, typer.Option("--by-kind", help="Sum up the days of each kind.")] = False,
) -> ExitCode:
    """Count the entries of the daily files."""
    from mas_core.ops import audit_sinks

    found = audit_sinks.statistics(required_project(call.flags))
    if not by_kind:
        call.out.records(
            _DAYS,
            [
                {**{name: getattr(item, name) for name in item.__slots__}, "path": str(item.path)}
                for item in found
            ],
        )
        return ExitCode.OK
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for item in found:
        for index, count in enumerate((1, item.entries, item.bytes)):
            sums[item.kind][index] += count
    rows = [
        {"kind": kind, "days": days, "entries": entries, "bytes": size}
        for kind, (days, entries, size) in sorted(sums.items())
    ]
    call.out.records(_KINDS, rows)
    return ExitCode.OK


def clean(
    call: Invocation,
    *,
    keep_days: Annotated[
        int | None,
        typer.Option(metavar="N", help="So many days stay, today among them; else what the settings say."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which files would go.")] = False,
) -> ExitCode:
    """Remove daily files that are too old."""
    from mas_core.ops import audit_sinks

    project = required_project(call.flags)
    old = audit_sinks.clean(project, keep_days, dry_run=True)
    if old and not dry_run:
        call.ask.one(f"{len(old)} daily files up to {old[-1].parent.name}")
        audit_sinks.clean(project, keep_days)
    call.out.records(_REMOVED, [{"path": str(path)} for path in old])
    call.talk.count(f"{len(old)} files {'would be removed' if dry_run else 'removed'}")
    return ExitCode.OK
