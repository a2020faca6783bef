"""`mas event`: what happened, as agents tell it and as the system itself sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system, required_project, target_of
from mas_cli.errors import PartlyFailed
from mas_cli.following import Until, ending, follow
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.replay_flags import parse_speed
from mas_cli.input.sending_flags import OPERATOR, Argument, As, Fields, JsonFields
from mas_cli.input.time_ranges import parse_range
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.rehearsals import show_rehearsal
from mas_cli.output.run_reports import RunReport
from mas_cli.output.safe_text import safe_text
from mas_cli.output.sent_rows import SENT_COLUMNS, sent_row
from mas_cli.running import Lifetime, run_until_stopped
from mas_core.errors import MasError, UsageError

if TYPE_CHECKING:
    from mas_core.ops.events import EventQuery, Replayed, StoredEvent

SHOWN = 100

Type = Annotated[
    str, typer.Option("--type", metavar="PATTERN", help="Only these: order.created, 'order.*', 'order.>'.")
]
Topic = Annotated[str, typer.Option("--topic", metavar="PATTERN", help="Only of these topics, as --type.")]
Source = Annotated[
    list[str] | None, typer.Option("--source", metavar="SOURCE", help="Only from this source; repeatable.")
]
Filter = Annotated[
    str, typer.Option("--filter", metavar="EXPR", help="Only where this expression (CEL) is true.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From then on: 1h, yesterday, a date or time.")
]
Before = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only before then.")]

_COLUMNS = (
    Column("time", kind="time"),
    Column("type", style=lambda _: "name"),
    Column("source"),
    Column("topic"),
    Column("data", flexible=True),
)
_LIVE = (
    Column("time", kind="clock", width=9),
    Column("type", width=24, style=lambda _: "name"),
    Column("source", width=12),
    Column("data", width=12, flexible=True),
)
_REPLAYED = (
    Column("seq", kind="number"),
    Column("type"),
    Column("source"),
    Column("target"),
    Column("decision"),
    Column("error.message", header="error", flexible=True),
)


async def list_events(
    call: Invocation,
    *,
    event_type: Type = ">",
    topic: Topic = ">",
    source: Source = None,
    expression: Filter = "",
    since: Since = None,
    until: Before = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many; 0 for all.")] = SHOWN,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first/--newest-first", help="In which order.")
    ] = False,
) -> ExitCode:
    """List events that the recorder has kept.

    They are read from the project's database, whether the system runs or not.
    """
    if limit < 0:
        raise UsageError("--limit is not negative")
    query = _query(call, event_type, topic, source, expression, since, until, newest_first=not oldest_first)
    from mas_core.ops import events

    is_cut = False
    async with events.kept_events(required_project(call.flags)) as store:

        async def rows() -> AsyncIterator[Record]:
            nonlocal is_cut
            if store is None:
                return
            seen = 0
            async with aclosing(store.query(query)) as found:
                async for stored in found:
                    if seen == limit != 0:
                        is_cut = True
                        return
                    seen += 1
                    yield events.event_line(stored)

        count = await call.out.listed(_COLUMNS, rows())
        if store is None:
            _tell_of_recorder(call)
    if is_cut:
        call.talk.warn(f"only {limit} events are shown; --limit 0 shows all")
    else:
        call.talk.count("1 event" if count == 1 else f"{count} events")
    return ExitCode.OK


async def tail(
    call: Invocation,
    *,
    event_type: Type = ">",
    topic: Topic = ">",
    source: Source = None,
    expression: Filter = "",
    since: Since = None,
    buffer: Annotated[
        int | None,
        typer.Option(metavar="N", help="Skip the oldest when more than so many wait; else none is skipped."),
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many.")] = None,
    duration: Annotated[str | None, typer.Option("--for", metavar="DUR", help="End after this time.")] = None,
    until: Until = None,
) -> ExitCode:
    """Show events as the recorder keeps them, from now on or from --since on."""
    end = ending(count, duration, until)
    if buffer is not None and buffer < 1:
        raise UsageError("--buffer is at least 1")
    query = _query(call, event_type, topic, source, expression, since, None)
    from mas_core.ops import events

    async with events.event_store(required_project(call.flags)) as store:
        after = 0 if since is not None else await store.head()
        skipped = 0

        def skip(missed: int) -> None:
            nonlocal skipped
            skipped += missed
            call.talk.warn(f"{missed} skipped: more than {buffer} waited")

        reader = events.Tail(store, query, after, buffer, skip)
        call.talk.count("Ctrl-C ends it")
        await follow(call, _LIVE, reader.read, events.event_line, end)
    return ExitCode.OK


async def emit(
    call: Invocation,
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="What happened, such as order.created.")],
    payload: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    topic: Annotated[str, typer.Option(metavar="TOPIC", help="Where it belongs, such as orders.eu.")] = "",
    as_agent: As = OPERATOR,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Keep nothing, and tell what each stage of the gateway would say."),
    ] = False,
) -> ExitCode:
    """Tell of an event; its source is the agent that tells it.

    It goes to the recorder as a message, so the policy says who may: mas rbac allow AGENT event-recorder.
    """
    source = PayloadSource(payload, fields or (), json_fields or ())
    (data,) = payloads(source, call.stdin, before_stdin=announced(call))
    async with open_system(call) as system:
        from mas_core.ops import events

        if dry_run:
            return show_rehearsal(
                call, await events.rehearse(system, event_type, data, topic=topic, as_agent=as_agent)
            )
        receipt = await events.emit(system, event_type, data, topic=topic, as_agent=as_agent)
    call.out.record(SENT_COLUMNS, sent_row(receipt, events.RECORDER, event_type))
    return ExitCode.OK


async def replay(
    call: Invocation,
    *,
    event_type: Type = ">",
    topic: Topic = ">",
    source: Source = None,
    expression: Filter = "",
    since: Since = None,
    until: Before = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="xN", help="So many times as fast as they came; all at once if left out."),
    ] = None,
    target: Annotated[
        str, typer.Option("--to", metavar="AGENT", help="Send them to this agent, through the gateway.")
    ] = "",
    as_agent: As = OPERATOR,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing, and list which it would be.")
    ] = False,
) -> ExitCode:
    """Play events again in the order in which they came; to an agent as messages of their types."""
    pace = 0.0 if speed is None else parse_speed(speed)
    query = _query(call, event_type, topic, source, expression, since, until)
    async with open_system(call) as system:
        from mas_core.ops import events

        project = system.target.project or required_project(call.flags)
        async with events.kept_events(project) as store:
            if store is None:
                call.out.records(_COLUMNS, [])
                _tell_of_recorder(call)
                return ExitCode.OK
            played = events.replay(store, query, speed=0.0 if dry_run else pace)
            if not target or dry_run:
                count = await call.out.listed(_COLUMNS, _lines(played))
                call.talk.count(f"{'would send' if target else 'played'} {_count(count)}")
                return ExitCode.OK
            failures: list[MasError] = []
            sent = events.replay_to(system, played, target, as_agent=as_agent)
            count = await call.out.listed(_REPLAYED, _outcomes(sent, target, failures))
    if failures and len(failures) == count:
        raise failures[0]
    if failures:
        raise PartlyFailed(f"{len(failures)} of {_count(count)} were refused: {failures[0].message}")
    call.talk.count(f"sent {_count(count)}")
    return ExitCode.OK


def record(call: Invocation) -> ExitCode:
    """Run the recorder in the foreground: it keeps what agents emit, and what happens to the system.

    `mas up` runs one where mas.yaml says events: {record: true}. What comes while none runs waits in its queue.
    Ctrl-C ends it. Logs are JSON lines on standard error.
    """
    from mas_core.ops.event_recorder import record_events
    from mas_core.ops.program import log_to_stderr

    target = target_of(call.flags)
    report = RunReport(call)
    log_to_stderr()

    async def work(lifetime: Lifetime) -> None:
        report.lead(lifetime)
        await record_events(target, lifetime.stop, report)

    run_until_stopped(call, work)
    return report.exit_code()


def _query(
    call: Invocation,
    event_type: str,
    topic: str,
    source: list[str] | None,
    expression: str,
    since: str | None,
    until: str | None,
    *,
    newest_first: bool = False,
) -> EventQuery:
    from mas_core.ops.events import EventQuery

    first, last = parse_range(since, until, utc=call.flags.utc)
    query = EventQuery(
        event_type, topic, source or (), expression or None, first, last, newest_first=newest_first
    )
    for name in query.selection.unknown_names:
        call.talk.warn(
            f"no event has {safe_text(name, 40)!r}: fields are type, source, topic, data and so on"
        )
    return query


async def _lines(played: AsyncIterator[StoredEvent]) -> AsyncIterator[Record]:
    from mas_core.ops.events import event_line

    async for stored in played:
        yield event_line(stored)


async def _outcomes(
    sent: AsyncIterator[Replayed], target: str, failures: list[MasError]
) -> AsyncIterator[Record]:
    async for item in sent:
        error = item.error
        if error is not None:
            failures.append(error)
        yield {
            "seq": item.stored.seq,
            "type": item.stored.event.type,
            "source": item.stored.event.source,
            "target": target,
            "id": item.receipt.message_id if item.receipt else None,
            "decision": str(item.receipt.decision)
            if item.receipt
            else error and error.details.get("decision"),
            "error": {"code": error.code, "message": error.message} if error else None,
        }


def _tell_of_recorder(call: Invocation) -> None:
    call.talk.say("no events were ever kept here; start the recorder with: mas event record")


def _count(number: int) -> str:
    return "1 event" if number == 1 else f"{number} events"
