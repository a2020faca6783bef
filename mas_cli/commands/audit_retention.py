"""`mas audit retention`: how long audit records are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from mas_core.ops.retention import RetentionStatus

_COLUMNS = (
    Column("framework", style=lambda _: "name"),
    Column("in_force", header="in force"),
    Column("hot_days", header="days in store", kind="number"),
    Column("archive_years", header="years in archive", kind="number"),
    Column("delete", header="deleted after"),
    Column("source", flexible=True),
)
_CHANGES = (Column("framework"), Column("before"), Column("after"))


async def list_retention(call: Invocation) -> ExitCode:
    """List what frameworks ask for, which of them are in force, and what those ask for together.

    Nothing leaves the store while none is in force. Of several the longest time counts, and segments are
    deleted only when each of them says so.
    """
    async with open_system(call) as system:
        from mas_core.ops import retention

        found = await retention.list_retention(system)
    call.out.records(_COLUMNS, [_row(status) for status in found])
    if not any(status.in_force for status in found):
        call.talk.say("none is in force, so all records stay in the store: mas audit retention set hipaa")
    return ExitCode.OK


async def set_retention(
    call: Invocation,
    framework: Annotated[
        str,
        typer.Argument(metavar="FRAMEWORK", help="hipaa, soc2, gdpr, pci, sox, or a name of your own."),
    ],
    *,
    hot_days: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Days for which records stay in the store.")
    ] = None,
    archive_years: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Years for which segments are kept at least.")
    ] = None,
    delete: Annotated[
        bool | None,
        typer.Option("--delete/--keep", help="Delete older segments, leaving their hashes; or keep them."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")
    ] = False,
) -> ExitCode:
    """Adopt or change what a framework asks for; `mas audit archive` and the notary follow it.

    What is left out stays as it was, or is as usual for the framework.
    """
    async with open_system(call) as system:
        from mas_core.ops import retention

        before, after = await retention.change_retention(
            system,
            framework,
            hot_days=hot_days,
            archive_years=archive_years,
            delete=delete,
            remove=remove,
            dry_run=dry_run,
        )
    was, now = before.retention.get(framework), after.retention.get(framework)
    rows: list[Record] = []
    if was != now:
        words = retention.describe_retention
        rows = [{"framework": framework, "before": words(was), "after": words(now)}]
    call.out.records(_CHANGES, rows)
    if not rows:
        call.talk.say("nothing would change" if dry_run else "nothing changed")
    elif dry_run:
        call.talk.say("nothing was changed yet")
    elif was is None:
        call.talk.say(f"undo with: mas audit retention set {framework} --remove")
    else:
        kept = "--delete" if was.delete else "--keep"
        call.talk.say(
            f"undo with: mas audit retention set {framework} --hot-days {was.hot_days} "
            f"--archive-years {was.archive_years} {kept}"
        )
    return ExitCode.OK


def _row(status: RetentionStatus) -> Record:
    rule = status.rule
    return {
        "framework": status.framework,
        "in_force": status.in_force,
        "hot_days": rule.hot_days,
        "archive_years": rule.archive_years,
        "delete": rule.delete,
        "source": status.source,
    }
