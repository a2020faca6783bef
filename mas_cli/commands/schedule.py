"""`mas schedule`: messages that were sent for later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.message_flags import Sender, Target, WithPayload
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record, with_rest
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_core.errors import MasError, UsageError

if TYPE_CHECKING:
    from mas_core.ops.schedule import Cancelled, Scheduled

Name = Annotated[str, typer.Argument(metavar="SCHEDULED", help="Id of the message, or TARGET/SENDER/ID.")]
Names = Annotated[list[str] | None, typer.Argument(metavar="SCHEDULED", help="Ids, as in mas schedule list.")]

SHOWN = 100

_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("from"),
    Column("to"),
    Column("type", flexible=True),
    Column("due", kind="time"),
    Column("due_in", header="due in", kind="duration"),
    Column("state", usual="waiting"),
)
_CANCELLED = (
    Column("id"),
    Column("from"),
    Column("to"),
    Column("type"),
    Column("result"),
    Column("error.message", header="error", flexible=True),
)


async def list_scheduled(
    call: Invocation,
    *,
    sender: Sender = "",
    target: Target = "",
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many; 0 for all.")] = SHOWN,
) -> ExitCode:
    """List the messages that wait for their time, the next first."""
    async with open_system(call) as system:
        from mas_core.ops import schedule

        found = await schedule.list_scheduled(system, sender=sender, target=target)
    shown = found[:limit] if limit > 0 else found
    call.out.records(_COLUMNS, [_row(item) for item in shown])
    if len(shown) < len(found):
        call.talk.warn(f"only {len(shown)} of {len(found)} are shown; --limit 0 shows all")
    else:
        call.talk.count(_count(len(found)))
    return ExitCode.OK


async def get(
    call: Invocation,
    name: Name,
    *,
    payload: WithPayload = False,
) -> ExitCode:
    """Show one message that waits for its time.

    The payload is sealed for the gateway: it is shown only where the gateway's key is at hand.
    """
    async with open_system(call) as system:
        from mas_core.ops import schedule

        found = await schedule.get(system, name)
        record = {**_row(found), **_more(found)}
        if payload:
            record["payload"] = await schedule.payload(system, found.id)
    call.out.record(with_rest(_COLUMNS, record), record)
    return ExitCode.OK


async def cancel(
    call: Invocation,
    names: Names = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that the other options leave.")] = False,
    sender: Sender = "",
    target: Target = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and list which it would be.")
    ] = False,
) -> ExitCode:
    """Cancel messages before they are due: they are never delivered, and are not kept."""
    if names and (everything or sender or target):
        raise UsageError("name messages or choose them by options, not both", hint="leave the ids out")
    if not names and not everything:
        raise UsageError(
            "which messages?", hint=("mas schedule list", "--all for all that the options leave")
        )
    async with open_system(call) as system:
        from mas_core.ops import schedule

        if everything:
            chosen = [item.id for item in await schedule.list_scheduled(system, sender=sender, target=target)]
        else:
            chosen = list(dict.fromkeys(names or ()))
        if dry_run:
            listed = {name: await schedule.get(system, name) for name in chosen}
            rows: list[Record] = [
                {**_row(item), "result": "would cancel", "error": None} for item in listed.values()
            ]
            call.out.records(_CANCELLED, rows)
            call.talk.say(f"would cancel {_count(len(rows))}")
            return ExitCode.OK
        things = [f"scheduled message {name}" for name in chosen]
        if things and (everything or len(things) > 1):
            call.ask.many(things, system.target.name)
        elif things:
            call.ask.one(things[0])
        done = await schedule.cancel(system, chosen)
    errors = [item.error for item in done if item.error is not None]
    if errors and len(done) == 1 and not everything and errors[0].code != "gateway_down":
        raise errors[0]
    call.out.records(_CANCELLED, [_result(item) for item in done])
    if errors:
        raise PartlyFailed(f"{len(errors)} of {len(done)} are not cancelled: {errors[0].message}")
    call.talk.count(f"cancelled {_count(len(done))}")
    return ExitCode.OK


def _count(number: int) -> str:
    return "1 scheduled message" if number == 1 else f"{number} scheduled messages"


def _row(item: Scheduled) -> Record:
    facts = item.facts
    state = "waiting" if item.due_in > 0 else "overdue"
    return {
        "id": facts.message_id,
        "from": facts.sender,
        "to": facts.target,
        "type": facts.type,
        "due": moment(facts.due),
        "due_in": item.due_in,
        "state": "cancelling" if item.is_cancelled else state,
        "name": item.id,
    }


def _more(item: Scheduled) -> Record:
    facts = item.facts
    return {
        "scheduled_at": moment(facts.scheduled_at),
        "expires_at": moment(facts.expires_at),
        "size": facts.size,
        "priority": facts.priority,
        "delivery": facts.delivery or None,
        "encrypted": facts.is_encrypted,
        "decision": str(facts.decision),
        "findings": sorted({finding.rule for finding in facts.findings}),
    }


def _result(item: Cancelled) -> Record:
    facts, error = item.facts, item.error
    is_noted = error is not None and error.code == "gateway_down"
    return {
        "id": facts.message_id if facts else item.name,
        "from": facts.sender if facts else None,
        "to": facts.target if facts else None,
        "type": facts.type if facts else None,
        "name": facts.id if facts else None,
        "result": "cancelled" if error is None else "cancelling" if is_noted else "failed",
        "error": None if error is None else _error(error),
    }


def _error(error: MasError) -> Record:
    return {"code": error.code, "message": error.message}
