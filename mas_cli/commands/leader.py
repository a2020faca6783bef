"""`mas leader`: who leads which group of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.sending_flags import As
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, watch_snapshots, watched
from mas_core.ops.system import OPERATOR

if TYPE_CHECKING:
    from mas_core.ops.leaders import Group
    from mas_core.ops.system import System

Groups = Annotated[list[str] | None, typer.Argument(metavar="GROUP", help="Only these groups.")]

_COLUMNS = (
    Column("group", style=lambda _: "name"),
    Column("leader"),
    Column("term", kind="number"),
    Column("since", kind="age"),
    Column("lease", kind="duration"),
    Column("instance"),
)


async def status(
    call: Invocation,
    groups: Groups = None,
    *,
    watch: Watch = None,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Show who leads which group, in which term.

    A group without a leader keeps its term: the next one begins a later term.
    """
    how = watched(watch, count, duration, until)
    names = tuple(groups or ())
    async with open_system(call) as system:
        if how is not None:
            await watch_snapshots(call, lambda: _snapshot(system, names), how)
            return ExitCode.OK
        rows = await _rows(system, names)
    call.out.records(_COLUMNS, rows)
    return ExitCode.OK


async def watch(
    call: Invocation,
    groups: Groups = None,
    *,
    count: Count = None,
    duration: For = None,
    until: Until = None,
) -> ExitCode:
    """Follow the elections of groups, as `mas leader status --watch=1s` does."""
    how = watched("1s", count, duration, until)
    names = tuple(groups or ())
    async with open_system(call) as system:
        if how is not None:
            await watch_snapshots(call, lambda: _snapshot(system, names), how)
    return ExitCode.OK


async def resign(
    call: Invocation,
    group: Annotated[str, typer.Argument(metavar="GROUP", help="Whose leader steps down.")],
    *,
    as_agent: As = OPERATOR,
) -> ExitCode:
    """Make the leader of a group step down; whoever waits longest leads next.

    The leader is told with its next renewal, and whatever it sends in its old term from then on is refused by
    those who have heard of a later one.
    """
    async with open_system(call) as system:
        from mas_core.ops import leaders

        await leaders.depose(system, group, as_agent=as_agent)
        rows = await _rows(system, (group,))
    call.out.records(_COLUMNS, rows)
    return ExitCode.OK


async def _snapshot(system: System, names: tuple[str, ...]) -> Snapshot:
    shown = Shown(_COLUMNS, await _rows(system, names), key="group")
    return Snapshot((shown,), shown)


async def _rows(system: System, names: tuple[str, ...]) -> list[Record]:
    from mas_core.ops import leaders

    return [_row(group) for group in await leaders.groups(system, names)]


def _row(group: Group) -> Record:
    is_led = bool(group.leader)
    return {
        "group": group.name,
        "leader": group.leader or None,
        "term": group.term,
        "since": moment(group.since) if is_led else None,
        "lease": group.lease_ms / 1000,
        "instance": group.instance or None,
    }
