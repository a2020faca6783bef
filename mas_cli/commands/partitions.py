"""`mas partitions`: how agents are spread over partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode

if TYPE_CHECKING:
    from mas_core.ops.partitions import LayoutPlan


def _coloured(state: object) -> Style | None:
    return {"open": "good", "retired": "dim"}.get(str(state), "warn")  # type: ignore[return-value]


_COLUMNS = (
    Column("partition", kind="number"),
    Column("state", style=_coloured),
    Column("owner", style=lambda _: "name"),
    Column("agents", kind="number"),
    Column("waiting_frames", kind="number"),
    Column("audit_records", kind="number"),
)
_PLAN_COLUMNS = (
    Column("from"),
    Column("to"),
    Column("agents", kind="number"),
    Column("moving", header="agents that move", kind="number"),
    Column("messages", header="messages that move", kind="number"),
    Column("gateways", kind="number"),
    Column("change"),
)


async def list_all(call: Invocation) -> ExitCode:
    """Show the partitions and who owns each.

    A retired one belongs to an earlier, larger number of partitions: its audit stays.
    """
    async with open_system(call) as system:
        from mas_core.ops.partitions import list_partitions

        found = await list_partitions(system)
    call.out.records(
        _COLUMNS,
        [
            {
                "partition": row.partition,
                "state": row.state,
                "owner": row.owner or None,
                "epoch": row.epoch,
                "agents": row.agents,
                "waiting_frames": row.waiting_frames,
                "audit_records": row.audit_records,
            }
            for row in found.rows
        ],
    )
    if found.layout.next:
        call.talk.warn(
            f"a change to {found.layout.next} partitions was begun: it is under way, or was cut short; "
            f"finish it with: mas partitions set {found.layout.next}"
        )
    return ExitCode.OK


async def set_number(
    call: Invocation,
    number: Annotated[int, typer.Argument(metavar="N", help="How many partitions there should be.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")
    ] = False,
) -> ExitCode:
    """Change the number of partitions: all are drained and closed, agents are moved, the new ones are opened.

    Gateways, agents and senders follow by themselves; what is sent meanwhile waits. The same command finishes a
    change that was cut short. `partitions` in mas.yaml says how a new system begins and need not be changed.
    """
    async with open_system(call) as system:
        from mas_core.ops.partitions import plan, set_partitions

        found = await plan(system, number)
        if dry_run or not found.is_change:
            _show(call, found, "would change" if found.is_change else "none")
            return ExitCode.OK
        call.ask.named(
            f"this stops all messages for a moment and moves {found.moving} of {found.agents} agents with "
            f"{found.messages} messages",
            system.target.name,
        )
        await set_partitions(system, number, call.talk.say)
    _show(call, found, "changed")
    return ExitCode.OK


def _show(call: Invocation, found: LayoutPlan, change: str) -> None:
    row: Record = {
        "from": found.before.partitions,
        "to": found.after.partitions,
        "agents": found.agents,
        "moving": found.moving,
        "messages": found.messages,
        "gateways": found.gateways,
        "change": change,
    }
    call.out.record(_PLAN_COLUMNS, row)
