"""`mas bus replay`: send again what was delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.sending_flags import OPERATOR, As, Rate
from mas_cli.input.time_ranges import parse_range
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.progress import Progress
from mas_core.errors import MessageNotFound, UsageError

if TYPE_CHECKING:
    from mas_core.errors import MasError
    from mas_core.model.audit_record import AuditRecord
    from mas_core.model.decision import Receipt

_COLUMNS = (
    Column("time", kind="time"),
    Column("was"),
    Column("type"),
    Column("id"),
    Column("target", header="to"),
    Column("decision"),
    Column("error.message", header="error", flexible=True),
)


async def replay(
    call: Invocation,
    *,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="What was delivered to this agent.")],
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what was decided since then, such as 1h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only what was decided before.")] = None,
    message_type: Annotated[
        str, typer.Option("--type", metavar="GLOB", help="Only these message types, such as 'invoice.*'.")
    ] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="Whom it goes to now; the same agent if left out.")
    ] = "",
    as_agent: As = OPERATOR,
    rate: Rate = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, and list what would be.")] = False,
) -> ExitCode:
    """Send again what was delivered to an agent, oldest first, as new messages that are judged anew.

    Payloads come from the sealed copies that `audit.payloads` in policy.yaml has kept; what has none is counted.
    What was given up and not handled is for `mas dlq retry`.
    """
    if rate < 0:
        raise UsageError("--rate is not negative")
    span = parse_range(since, until, utc=call.flags.utc)
    async with open_system(call) as system:
        from mas_core.ops import replays
        from mas_core.ops.audit_questions import note_question

        await note_question(system, "bus.replay", {"agent": agent, "payloads": not dry_run})
        records, without = await replays.replayable(
            system, agent, since=span.since or 0, until=span.until or 0, message_type=message_type
        )
        if without:
            call.talk.warn(f"{without} messages have no copy of their payload, and cannot be sent again")
        if not records:
            raise MessageNotFound(
                f"no message to {agent} has a copy of its payload",
                hint="audit: {payloads: {GLOB: POINTER}} in policy.yaml keeps copies from then on",
            )
        if dry_run:
            call.out.records(_COLUMNS[:3], [_row(record, to or agent, None, None) for record in records])
            call.talk.count(f"{len(records)} would be sent")
            return ExitCode.OK
        rows: list[Record] = []
        with Progress(call.talk, len(records), "messages") as progress:
            async for item in replays.replay(system, records, to=to, as_agent=as_agent, rate=rate):
                rows.append(_row(item.record, item.target, item.receipt, item.error))
                progress(len(rows))
    call.out.records(_COLUMNS, rows)
    failed = [row for row in rows if row["error"]]
    if failed:
        raise PartlyFailed(f"{len(failed)} of {len(rows)} messages were not sent", failed=len(failed))
    call.talk.count(f"{len(rows)} messages sent")
    return ExitCode.OK


def _row(record: AuditRecord, target: str, receipt: Receipt | None, error: MasError | None) -> Record:
    return {
        "time": moment(record.time),
        "was": record.message_id,
        "from": record.sender,
        "type": record.type,
        "id": receipt.message_id if receipt else None,
        "target": target,
        "decision": str(receipt.decision) if receipt else None,
        "error": {"code": error.code, "message": error.message} if error else None,
    }
