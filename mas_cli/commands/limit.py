"""`mas limit`: how many messages agents may send, and how urgent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.limits import LimitStatus, WindowUse

Name = Annotated[str, typer.Argument(metavar="NAME", help="An agent, role:NAME, capability:NAME or default.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")]


def _coloured(cell: object) -> Style | None:
    used, _, limit = str(cell).partition("/")
    return "bad" if limit and (used == "unreadable" or int(used) >= int(limit)) else None


_COLUMNS = (
    Column("name"),
    Column("scope"),
    Column("second", usual=None, style=_coloured),
    Column("minute", style=_coloured),
    Column("hour", style=_coloured),
    Column("resets_in", header="resets in", kind="duration"),
    Column("source"),
    Column("ceiling", header="priority", kind="number", usual=10),
)
_CHANGES = (Column("what"), Column("name"), Column("before"), Column("after"))


async def list_limits(call: Invocation) -> ExitCode:
    """List limits as used/limit: everybody's, those of roles, totals, and each agent's.

    `each` is what each agent or each member of a role may send, `total` what all may send together.
    """
    async with open_system(call) as system:
        from mas_core.ops import limits

        found = await limits.list_limits(system)
    call.out.records(_COLUMNS, [_row(status) for status in found])
    call.talk.count(f"{len(found)} limits; {sum(status.is_full for status in found)} are used up")
    return ExitCode.OK


async def get(call: Invocation, name: Name) -> ExitCode:
    """Show what counts for one agent, role or capability, and how much of it is used."""
    async with open_system(call) as system:
        from mas_core.ops import limits

        found = await limits.get_limit(system, name)
    call.out.records(_COLUMNS, [_row(status) for status in found])
    return ExitCode.OK


async def set_limit(
    call: Invocation,
    name: Name,
    *,
    per_minute: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Messages in any sliding minute; 0 for none at all."),
    ] = None,
    per_hour: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Messages in any sliding hour; 0 for none at all.")
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Messages in any sliding second; 0 for no such bound."),
    ] = None,
    ceiling: Annotated[
        int | None,
        typer.Option(metavar="0-10", min=0, max=10, help="The highest priority; above it is lowered to it."),
    ] = None,
    total: Annotated[
        bool, typer.Option("--total", help="Limit the members of a role together, not each of them.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the limit back; the default counts again.")
    ] = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Change a limit; in force when it returns, and kept in the history of the policy.

    Numbers left out stay as they are. A limit given here stays when files are loaded again, until they say
    something new about the same name.
    """
    async with open_system(call) as system:
        from mas_core.model.policy import RateLimit
        from mas_core.ops import limits

        before, after = await limits.change_limit(
            system,
            name,
            per_minute=per_minute,
            per_hour=per_hour,
            burst=burst,
            ceiling=ceiling,
            is_total=total,
            remove=remove,
            dry_run=dry_run,
        )
    party = "*" if name == limits.DEFAULT else name
    was, now = _parts(before, party), _parts(after, party)
    rows = [
        {"what": what, "name": name, "before": _said(was[what]), "after": _said(now[what])}
        for what in was
        if was[what] != now[what]
    ]
    call.out.records(_CHANGES, rows)
    for limit in (now[str(row["what"])] for row in rows):
        if isinstance(limit, RateLimit) and limit.per_hour < limit.per_minute:
            call.talk.warn(
                f"{limit.per_hour} an hour is less than {limit.per_minute} a minute; change it with --per-hour"
            )
    if not rows:
        call.talk.say("nothing would change" if dry_run else "nothing changed")
    elif dry_run:
        call.talk.say("nothing was changed yet")
    else:
        call.talk.say(f"undo with: mas rbac rollback {before.revision}")
    return ExitCode.OK


async def reset(call: Invocation, name: Name, *, dry_run: DryRun = False) -> ExitCode:
    """Forget what an agent, role or capability has used; it may send at once.

    The history of the policy keeps who did it.
    """
    async with open_system(call) as system:
        from mas_core.ops import limits

        found = await limits.reset(system, name, dry_run=dry_run)
    change = "would be reset" if dry_run else "reset"
    call.out.records((*_COLUMNS, Column("change")), [{**_row(status), "change": change} for status in found])
    return ExitCode.OK


def _parts(document: PolicyDocument, party: str) -> dict[str, object]:
    return {
        "limit": document.default_limit if party == "*" else document.limits.get(party),
        "total": document.totals.get(party),
        "priority": document.ceilings.get(party),
    }


def _row(status: LimitStatus) -> Record:
    uses = {use.window: use for use in status.uses}
    limits = {
        "second": status.limit.burst or None,
        "minute": status.limit.per_minute,
        "hour": status.limit.per_hour,
    }
    return {
        "name": status.name,
        "scope": status.scope,
        **{window: _used(uses.get(window), most) for window, most in limits.items()},
        "resets_in": _resets_in(status),
        "source": status.source,
        "ceiling": status.ceiling,
        "per_minute": status.limit.per_minute,
        "per_hour": status.limit.per_hour,
        "burst": status.limit.burst,
        "used": {use.window: use.used if use.used >= 0 else None for use in status.uses},
    }


def _used(use: WindowUse | None, most: int | None) -> str | None:
    if most is None:
        return None
    if use is None:
        return str(most)
    return f"{'unreadable' if use.used < 0 else use.used}/{most}"


def _resets_in(status: LimitStatus) -> float | None:
    """Seconds until everything that was counted has left the window that is nearest to its limit."""
    counted = [use for use in status.uses if use.used > 0]
    if not counted:
        return None
    nearest = max(counted, key=lambda use: (use.used / use.limit if use.limit else 1.0, use.resets_in_ms))
    return nearest.resets_in_ms / 1000


def _said(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    from mas_core.ops.limits import describe_limit

    return describe_limit(value)  # type: ignore[arg-type]
