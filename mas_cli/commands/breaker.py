"""`mas breaker`: circuits, which keep messages from targets that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.ops.breakers import CircuitStatus

Target = Annotated[str, typer.Argument(metavar="TARGET", help="The agent that messages go to.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the audit.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and tell what would be changed.")]

_COLUMNS = (
    Column("target"),
    Column("from"),
    Column("state"),
    Column("failures", kind="number"),
    Column("retry_in", header="retry in", kind="duration"),
    Column("why", flexible=True),
    Column("backup"),
    Column("since", kind="time"),
    Column("by"),
)


async def list_circuits(
    call: Invocation,
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="TARGET", help="Only circuits of these agents.")
    ] = None,
) -> ExitCode:
    """List the circuits that are open or half-open.

    A circuit with a sender counts for that sender only; one without counts for all.
    """
    async with open_system(call) as system:
        from mas_core.ops import breakers

        found = await breakers.list_circuits(system, tuple(targets or ()))
        is_on = await breakers.is_on(system)
    call.out.records(_COLUMNS, [_row(status) for status in found])
    call.talk.count(f"{len(found)} circuits are not closed")
    if not is_on:
        call.talk.warn("breakers are off; switch them on with: mas policy set circuit_breaker on")
    return ExitCode.OK


async def reset(
    call: Invocation, target: Target, *, reason: Reason = "", dry_run: DryRun = False
) -> ExitCode:
    """Close all circuits of a target; in force when it returns.

    What was counted is forgotten too. Circuits open again if messages keep failing.
    """
    async with open_system(call) as system:
        from mas_core.ops import breakers

        if dry_run:
            found = await breakers.list_circuits(system, (target,))
        else:
            found = await breakers.reset_circuits(system, target, reason=reason)
    change = "would close" if dry_run else "closed"
    call.out.records((*_COLUMNS, Column("change")), [{**_row(status), "change": change} for status in found])
    if not found:
        call.talk.say(f"no circuit of {target} was open")
    return ExitCode.OK


async def open_circuit(
    call: Invocation,
    target: Target,
    *,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DUR", help="How long; until it is reset if left out."),
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> ExitCode:
    """Let no message pass to a target; in force when it returns.

    Messages go to its backup, if the policy names one, and are refused otherwise.
    """
    seconds = 0.0 if duration is None else parse_duration(duration, "--for")
    async with open_system(call) as system:
        from mas_core.ops import breakers

        if dry_run:
            found = await breakers.list_circuits(system, (target,))
        else:
            await breakers.open_circuit(system, target, seconds=seconds, reason=reason)
            found = await breakers.list_circuits(system, (target,))
    call.out.records(_COLUMNS, [_row(status) for status in found])
    if dry_run:
        call.talk.say(f"would open the circuit of {target}")
    else:
        call.talk.say(f"undo with: mas breaker reset {target}")
    return ExitCode.OK


def _row(status: CircuitStatus) -> Record:
    return {
        "target": status.target,
        "from": status.sender or None,
        "state": status.state,
        "failures": status.failures,
        "retry_in": status.retry_in,
        "why": status.why,
        "backup": status.backup or None,
        "since": moment(status.since),
        "by": status.by or None,
    }
