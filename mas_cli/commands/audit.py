"""`mas audit`: what was decided, by whom and why, and the proof that nobody changed it since."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, required_project
from mas_cli.following import Until as UntilTrue
from mas_cli.following import ending, follow
from mas_cli.input.audit_flags import (
    Actor,
    Found,
    Kind,
    MessageType,
    RuleId,
    Scan,
    Sender,
    Since,
    Target,
    Until,
    Wanted,
    filter_of,
)
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.audit import StoredRecord

SHOWN_ON_A_TERMINAL = 100


def _coloured(decision: object) -> Style | None:
    if decision in {"allowed", "", None}:
        return None
    return "warn" if decision in {"alert", "redacted"} else "bad"


_COLUMNS = (
    Column("seq", kind="number", width=6),
    Column("time", kind="time"),
    Column("kind", width=8, usual="message"),
    Column("actor", width=12, usual="", flexible=True),
    Column("sender", header="from", width=12, flexible=True),
    Column("target", header="to", width=12, flexible=True),
    Column("type", width=12, flexible=True),
    Column("decision", width=9, style=_coloured),
    Column("rule", width=6),
    Column("reason", width=12, flexible=True),
)
_NEWEST = tuple(
    column._replace(kind="clock", width=9) if column.key == "time" else column
    for column in _COLUMNS
    if column.key != "rule"
)
_DETAILS = (
    Column("seq", kind="number"),
    Column("partition", kind="number"),
    Column("time", kind="time"),
    Column("kind"),
    Column("decision", style=_coloured),
    Column("reason"),
    Column("rule"),
    Column("findings"),
    Column("sender", header="from"),
    Column("target", header="to"),
    Column("type"),
    Column("size", kind="number"),
    Column("message_id"),
    Column("correlation_id"),
    Column("instance"),
    Column("key_id"),
    Column("payload_hmac"),
    Column("gateway"),
    Column("actor"),
    Column("details"),
    Column("trace_id"),
    Column("parent_id"),
    Column("waited_ms", kind="number"),
    Column("stages_us"),
    Column("hmac_key"),
    Column("fingerprints"),
    Column("prev"),
)
_COUNTED = (Column("value"), Column("records", kind="number"))


async def list_records(
    call: Invocation,
    *,
    sender: Sender = "",
    target: Target = "",
    message_type: MessageType = "",
    decision: Wanted = "",
    kind: Kind = "",
    rule: RuleId = "",
    finding: Found = "",
    actor: Actor = "",
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most so many; on a terminal 100 if left out, else all."),
    ] = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first/--newest-first", help="In which order.")
    ] = False,
    scan: Scan = False,
) -> ExitCode:
    """List audit records, the newest first: from the evidence folder as far as it goes, else from the store."""
    wanted = filter_of(
        utc=call.flags.utc, sender=sender, target=target, message_type=message_type, decision=decision,
        kind=kind, rule=rule, finding=finding, actor=actor, since=since, until=until,
    )  # fmt: skip
    if limit is not None and limit < 1:
        raise UsageError("--limit is at least 1")
    most = SHOWN_ON_A_TERMINAL if limit is None and call.out.is_terminal else limit
    is_cut = False

    async with open_system(call) as system:
        from mas_core.ops import audit

        async def rows() -> AsyncIterator[Record]:
            nonlocal is_cut
            seen = 0
            async with aclosing(
                audit.records(
                    system, wanted, newest_first=not oldest_first, use_index=not scan, warn=call.talk.warn
                )
            ) as records:
                async for found in records:
                    if seen == most:
                        is_cut = True
                        return
                    seen += 1
                    yield _row(found)

        count = await call.out.listed(_COLUMNS, rows())
    if is_cut and limit is None:
        call.talk.warn(f"only {most} records are shown; --limit N shows more")
    else:
        call.talk.count("1 record" if count == 1 else f"{count} records")
    return ExitCode.OK


async def tail(
    call: Invocation,
    *,
    sender: Sender = "",
    target: Target = "",
    message_type: MessageType = "",
    decision: Wanted = "",
    kind: Kind = "",
    rule: RuleId = "",
    finding: Found = "",
    actor: Actor = "",
    last: Annotated[int, typer.Option(metavar="N", help="So many that are there already.")] = 10,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records.")] = False,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="With --follow: end after so many new ones.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DUR", help="With --follow: end after this time.")
    ] = None,
    until: UntilTrue = None,
) -> ExitCode:
    """Show the newest audit records, the newest last."""
    if not following and any(value is not None for value in (count, duration, until)):
        raise UsageError("--count, --for and --until need --follow", hint="--last N")
    end = ending(count, duration, until)
    wanted = filter_of(
        utc=call.flags.utc, sender=sender, target=target, message_type=message_type, decision=decision,
        kind=kind, rule=rule, finding=finding, actor=actor,
    )  # fmt: skip
    async with open_system(call) as system:
        from mas_core.ops import audit

        after = await audit.newest(system)
        newest: deque[StoredRecord] = deque()
        if last > 0:
            async with aclosing(audit.records(system, wanted, warn=call.talk.warn)) as records:
                async for found in records:
                    # what was written since then comes with --follow
                    if found.record.seq <= after[found.partition]:
                        newest.appendleft(found)
                    if len(newest) == last:
                        break
        if not following:
            call.out.records(_NEWEST, [_row(found) for found in newest])
            return ExitCode.OK
        for index, found in enumerate(newest):
            call.out.event(_NEWEST, _row(found), first=index == 0)
        await follow(
            call,
            _NEWEST,
            lambda: audit.follow(system, after, wanted),
            _row,
            end,
            with_headers=not newest,
        )
    return ExitCode.OK


async def get(
    call: Invocation,
    identifier: Annotated[
        str,
        typer.Argument(metavar="ID", help="Id of a message, or number of a record: SEQ or PARTITION:SEQ."),
    ],
    *,
    scan: Scan = False,
) -> ExitCode:
    """Show everything that is recorded about a message."""
    async with open_system(call) as system:
        from mas_core.ops import audit

        found = await audit.get(system, identifier, use_index=not scan, warn=call.talk.warn)
        rows = [_row(item) for item in found]
    if call.out.format is Format.TABLE:
        for index, row in enumerate(rows):
            call.out.write("\n" if index else "")
            call.out.record(
                [column for column in _DETAILS if row.get(column.key) not in ("", None, 0, [], {})], row
            )
    else:
        call.out.records(_DETAILS, rows)
    return ExitCode.OK


async def count(
    call: Invocation,
    *,
    sender: Sender = "",
    target: Target = "",
    message_type: MessageType = "",
    decision: Wanted = "",
    kind: Kind = "",
    rule: RuleId = "",
    finding: Found = "",
    actor: Actor = "",
    since: Since = None,
    until: Until = None,
    by: Annotated[
        str,
        typer.Option(metavar="FIELD", help="Count each value of a field: sender, target, type, day, ..."),
    ] = "",
    scan: Scan = False,
) -> ExitCode:
    """Count audit records, in all or by a field.

    --by takes sender, target, type, decision, rule, kind, actor, finding, category, day or hour (UTC); a record
    with several findings counts once for each rule that found something.
    """
    wanted = filter_of(
        utc=call.flags.utc, sender=sender, target=target, message_type=message_type, decision=decision,
        kind=kind, rule=rule, finding=finding, actor=actor, since=since, until=until,
    )  # fmt: skip
    async with open_system(call) as system:
        from mas_core.ops import audit

        counted = await audit.count(system, wanted, by=by, use_index=not scan, warn=call.talk.warn)
    if by:
        column = Column("value", header=by)
        rows = [{"value": value, "records": number} for value, number in counted.items()]
        call.out.records((column, *_COUNTED[1:]), rows)
    else:
        call.out.record(_COUNTED[1:], {"records": sum(counted.values())})
    return ExitCode.OK


async def reindex(call: Invocation) -> ExitCode:
    """Make the index of the evidence folder again, from the records.

    It only says where to look, and is kept by the notary. While that runs it has to be stopped first.
    """
    from mas_core.ops import audit_index

    made = audit_index.rebuild(required_project(call.flags), call.talk.warn)
    call.out.records(
        (
            Column("partition", kind="number"),
            Column("records", kind="number"),
            Column("indexed", kind="number"),
        ),
        [{"partition": item.partition, "records": item.records, "indexed": item.indexed} for item in made],
    )
    if not made:
        call.talk.say("there is no evidence folder, so there is nothing to index")
    return ExitCode.OK


def _row(found: StoredRecord) -> Record:
    record = found.record
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    findings = [
        {name: getattr(finding, name) for name in finding.__struct_fields__} for finding in record.findings
    ]
    return {"partition": found.partition, **fields, "time": moment(record.time), "findings": findings}
