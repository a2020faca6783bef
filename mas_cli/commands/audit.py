"""`mas audit`: what was decided, by whom and why, and the proof that nobody changed it since."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.following import ending, follow
from mas_cli.input.time_ranges import parse_range
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_core.errors import Conflict, UsageError
from mas_core.model.decision import Decision

if TYPE_CHECKING:
    from mas_core.ops.audit import AuditFilter, PartitionResult, StoredRecord

SHOWN_ON_A_TERMINAL = 100

Sender = Annotated[str, typer.Option("--from", "--sender", metavar="AGENT", help="Only from this agent.")]
Target = Annotated[str, typer.Option("--to", "--target", metavar="AGENT", help="Only to this agent.")]
MessageType = Annotated[str, typer.Option("--type", metavar="GLOB", help="Only these message types.")]
Wanted = Annotated[
    str, typer.Option("--decision", metavar="|".join(Decision), help="Only with this decision.")
]
Kind = Annotated[
    str, typer.Option(metavar="NAME", help="Only of this kind: message, frame, agent.attach, ...")
]
RuleId = Annotated[
    str, typer.Option("--rule", metavar="ID", help="Only where this rule decided or found something.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="From then on: 1h, yesterday, a date or time.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]


def _coloured(decision: object) -> Style | None:
    if decision in {"allowed", "", None}:
        return None
    return "warn" if decision in {"alert", "redacted"} else "bad"


_COLUMNS = (
    Column("seq", kind="number", width=6),
    Column("time", kind="time"),
    Column("kind", width=8, usual="message"),
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
    Column("prev"),
)
_EXPORTED = (Column("path"), Column("rows", kind="number"), Column("sha256"), Column("heads"))


async def list_records(
    call: Invocation,
    *,
    sender: Sender = "",
    target: Target = "",
    message_type: MessageType = "",
    decision: Wanted = "",
    kind: Kind = "",
    rule: RuleId = "",
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most so many; on a terminal 100 if left out, else all."),
    ] = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first/--newest-first", help="In which order.")
    ] = False,
) -> ExitCode:
    """List audit records, the newest first."""
    wanted = _filter(call, sender, target, message_type, decision, kind, rule, since, until)
    if limit is not None and limit < 1:
        raise UsageError("--limit is at least 1")
    most = SHOWN_ON_A_TERMINAL if limit is None and call.out.is_terminal else limit
    is_cut = False

    async with open_system(call) as system:
        from mas_core.ops import audit

        async def rows() -> AsyncIterator[Record]:
            nonlocal is_cut
            seen = 0
            async with aclosing(audit.records(system, wanted, newest_first=not oldest_first)) as records:
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
    last: Annotated[int, typer.Option(metavar="N", help="So many that are there already.")] = 10,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records.")] = False,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="With --follow: end after so many new ones.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DUR", help="With --follow: end after this time.")
    ] = None,
) -> ExitCode:
    """Show the newest audit records, the newest last."""
    if not following and (count is not None or duration is not None):
        raise UsageError("--count and --for need --follow", hint="--last N")
    end = ending(count, duration)
    wanted = _filter(call, sender, target, message_type, decision, kind, rule, None, None)
    async with open_system(call) as system:
        from mas_core.ops import audit

        after = await audit.newest(system)
        newest: deque[StoredRecord] = deque()
        if last > 0:
            async with aclosing(audit.records(system, wanted)) as records:
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
) -> ExitCode:
    """Show everything that is recorded about a message."""
    async with open_system(call) as system:
        from mas_core.ops import audit

        rows = [_row(found) for found in await audit.get(system, identifier)]
    if call.out.format is Format.TABLE:
        for index, row in enumerate(rows):
            call.out.write("\n" if index else "")
            call.out.record(
                [column for column in _DETAILS if row.get(column.key) not in ("", None, [], {})], row
            )
    else:
        call.out.records(_DETAILS, rows)
    return ExitCode.OK


async def export(
    call: Invocation,
    *,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="csv|json|jsonl", help="What to write; what --output says, else jsonl."
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Where to, mode 0600; one that exists is replaced with --yes only. - is standard output.",
        ),
    ] = "-",
    since: Since = None,
    until: Until = None,
) -> ExitCode:
    """Write audit records to a file, exactly as they are stored.

    --output csv, json or jsonl counts as --format where that is left out.
    The number of rows, their SHA-256 and the head of the chain are told on standard error. The chain is
    verified on the way: where it is broken the export is complete nevertheless, and the exit code is 1.
    """
    from mas_core.ops import audit
    from mas_core.settings.private_files import private_writer

    span = parse_range(since, until, utc=call.flags.utc)
    path = _destination(call, out)
    format_name = _export_format(call, format_name, audit.FORMATS, to_file=path is not None)
    begin, end = span.since or 0, span.until or 0
    async with open_system(call) as system:
        if path is None:
            done = await audit.export(system, format_name, call.out.write_bytes, since=begin, until=end)
        else:
            with private_writer(path) as file:
                done = await audit.export(system, format_name, file.write, since=begin, until=end)
    heads = {str(found.partition): found.result.head for found in done.partitions}
    if path is not None and call.out.format is not Format.TABLE:
        call.out.record(
            _EXPORTED, {"path": str(path), "rows": done.rows, "sha256": done.sha256, "heads": heads}
        )
    call.talk.say(f"rows     {done.rows}")
    call.talk.say(f"sha-256  {done.sha256}")
    for partition, head in heads.items():
        call.talk.say(f"head     {head} (partition {partition})")
    return _concluded(call, done.partitions)


def _destination(call: Invocation, out: str) -> Path | None:
    """The file to write; None for standard output."""
    if out == "-":
        if call.out.is_terminal:
            raise UsageError("an export is written byte by byte, not to a terminal", hint="--out FILE")
        return None
    path = Path(out).expanduser()
    if path.is_dir():
        raise UsageError(f"--out: {out} is a folder", hint=f"--out {path / 'audit.jsonl'}")
    if path.exists() and not call.flags.yes:
        raise Conflict(f"--out: {out} exists", hint="--yes replaces it", path=str(path))
    return path


def _export_format(call: Invocation, given: str | None, known: Collection[str], *, to_file: bool) -> str:
    """What --format says, or --output in its place."""
    if given is not None:
        if given not in known:
            raise UsageError(f"--format: {given!r} is none of {', '.join(known)}")
        return given
    shown = call.out.format
    if shown in known:
        return shown.value
    if shown is not Format.TABLE and not to_file:
        raise UsageError(f"an export is not written as {shown}", hint=f"--format {'|'.join(known)}")
    return "jsonl"


def _filter(
    call: Invocation,
    sender: str,
    target: str,
    message_type: str,
    decision: str,
    kind: str,
    rule: str,
    since: str | None,
    until: str | None,
) -> AuditFilter:
    from mas_core.ops.audit import AuditFilter

    if decision not in {"", *Decision}:
        raise UsageError(f"--decision: {decision!r} is none of {', '.join(Decision)}")
    span = parse_range(since, until, utc=call.flags.utc)
    return AuditFilter(
        sender=sender,
        target=target,
        message_type=message_type,
        decision=decision,
        kind=kind,
        rule=rule,
        since=span.since or 0,
        until=span.until or 0,
    )


def _row(found: StoredRecord) -> Record:
    record = found.record
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    findings = [
        {name: getattr(finding, name) for name in finding.__struct_fields__} for finding in record.findings
    ]
    return {"partition": found.partition, **fields, "time": moment(record.time), "findings": findings}


def _concluded(call: Invocation, results: Sequence[PartitionResult]) -> ExitCode:
    broken = [found for found in results if not found.result.ok]
    for found in broken:
        call.talk.warn(f"the chain of partition {found.partition} is broken: {found.result.problem}")
    if not broken:
        total = sum(found.result.records for found in results)
        call.talk.count(f"{total} records in {len(results)} partitions, every one as it was written")
    return ExitCode.NO if broken else ExitCode.OK
