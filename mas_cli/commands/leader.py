"""`mas leader`: who leads which group of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.sending_flags import As
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Record
from mas_cli.output.coordination_rows import LEADER_COLUMNS, leader_row
from mas_cli.output.exit_codes import ExitCode
from mas_cli.watching import Count, For, Shown, Snapshot, Until, Watch, watch_snapshots, watched
from mas_core.ops.system import OPERATOR

if TYPE_CHECKING:
    from mas_core.ops.system import System

Groups = Annotated[list[str] | None, typer.Argument(metavar="GROUP", help="Only these groups.")]


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
    call.out.records(LEADER_COLUMNS, rows)
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
    call.out.records(LEADER_COLUMNS, rows)
    return ExitCode.OK


async def _snapshot(system: System, names: tuple[str, ...]) -> Snapshot:
    shown = Shown(LEADER_COLUMNS, await _rows(system, names), key="group")
    return Snapshot((shown,), shown)


async def _rows(system: System, names: tuple[str, ...]) -> list[Record]:
    from mas_core.ops import leaders

    return [leader_row(group) for group in await leaders.groups(system, names)]
