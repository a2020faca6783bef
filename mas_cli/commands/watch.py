"""`mas watch`: decisions of the gateway as they are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.following import EndOfEvents, Until, ending, follow
from mas_cli.input.expressions import Condition, parse_condition
from mas_cli.input.message_flags import Sender, Target
from mas_cli.input.replay_flags import parse_speed
from mas_cli.input.time_ranges import parse_moment
from mas_cli.invocation import Invocation
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_cli.output.payload_cells import PayloadWay, checked_way, payload_fields
from mas_cli.output.safe_text import safe_text
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.payload_views import PayloadView, ShownPayload
    from mas_core.ops.system import System
    from mas_core.ops.watch import EventFilter, LiveEvent


def _coloured(decision: object) -> Style | None:
    if decision == "allowed":
        return None
    return "warn" if decision in {"alert", "redacted"} else "bad"


_COLUMNS = (
    Column("time", kind="clock", width=9),
    Column("from", width=12),
    Column("to", width=12),
    Column("type", width=16, flexible=True),
    Column("decision", width=9, style=_coloured),
    Column("reason", width=12, flexible=True),
)


async def watch(
    call: Invocation,
    *,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Only from or to this agent.")] = "",
    sender: Sender = "",
    target: Target = "",
    message_type: Annotated[
        str, typer.Option("--type", metavar="GLOB", help="Only these message types, such as 'invoice.*'.")
    ] = "",
    refused: Annotated[bool, typer.Option("--refused", help="Only what was not let through.")] = False,
    where: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Only where this JMESPath of the line's JSON is true."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin with what was decided since then, such as 10m.")
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many.")] = None,
    duration: Annotated[str | None, typer.Option("--for", metavar="DUR", help="End after this time.")] = None,
    until: Until = None,
    payload: PayloadWay = "none",
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What was recorded in this file, instead.")
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(metavar="xN", help="With --replay: so many times as fast as it was; else all at once."),
    ] = None,
) -> ExitCode:
    """Show what the gateway decides, as it happens.

    One line for each message, from now on; --columns shows more, such as bytes, rule and id. This is for looking
    on; `mas audit` is the evidence. --payload needs copies that audit.payloads of the policy has kept, and keys.
    """
    if checked_way(payload) != "none" and replay is not None:
        raise UsageError("a recording holds no payloads", hint="mas audit payload ID")
    end = ending(count, duration, until)
    holds = None if where is None else parse_condition(where, "--where")
    begin = None if since is None else parse_moment(since, "--since", utc=call.flags.utc)
    if replay is not None and begin is not None:
        raise UsageError("--since is for a running system; a recording has its own begin")
    if speed is not None and replay is None:
        raise UsageError("--speed is for --replay", hint="mas record --out FILE")
    pace = 0.0 if speed is None else parse_speed(speed)
    if replay is not None:
        from mas_core.ops import recordings
        from mas_core.ops.watch import EventFilter

        wanted = EventFilter(agent, sender, target, message_type, refused)
        header = recordings.header_of(replay)
        call.talk.count(f"recorded from {safe_text(header.context, 80)} at {safe_text(header.time, 40)}")
        await follow(
            call, _COLUMNS, lambda: _only_once(recordings.replayed(replay, pace), wanted, holds), _row, end
        )
        return ExitCode.OK
    async with open_system(call) as system:
        from mas_core.ops import watch as live

        wanted = live.EventFilter(agent, sender, target, message_type, refused)
        after = await live.newest(system)
        call.talk.count(f"watching {system.target.name}, Ctrl-C ends it")
        events = _events(call, system, after, wanted, begin, holds)
        if payload == "none":
            await follow(call, _COLUMNS, events, _row, end)
        else:
            from mas_core.ops.payload_views import PayloadView

            view = await PayloadView.of(system)
            if view.is_empty:
                call.talk.warn("the policy has no payloads kept: audit.payloads in policy.yaml")
            with_payloads = (*_COLUMNS, Column("payload", width=20, flexible=True))
            await follow(call, with_payloads, _looked_up(events, view), _with_payload(call, payload), end)
    return ExitCode.OK


def _events(
    call: Invocation,
    system: System,
    after: dict[int, int],
    wanted: EventFilter,
    begin: int | None,
    holds: Condition | None,
) -> Callable[[], AsyncIterator[LiveEvent | None]]:
    """What was decided since `begin` until `after`, once, and then what is decided from there on."""
    from mas_core.ops import watch as live

    seen = dict(after)
    older: list[AsyncIterator[LiveEvent]] = []
    if begin is not None:
        older.append(live.recent(system, begin, after, wanted))

    def missed(_partition: int, number: int) -> None:
        call.talk.warn(f"a gap: {number} records were gone before they could be read")

    async def run() -> AsyncIterator[LiveEvent | None]:
        while older:
            async for event in older[0]:
                if holds is None or holds(_row(event)):
                    yield event
            older.clear()
        async for new in live.follow(system, seen, wanted, missed=missed):
            if new is None or holds is None or holds(_row(new)):
                yield new

    return run


def _looked_up(
    events: Callable[[], AsyncIterator[LiveEvent | None]], view: PayloadView
) -> Callable[[], AsyncIterator[tuple[LiveEvent, ShownPayload] | None]]:
    async def run() -> AsyncIterator[tuple[LiveEvent, ShownPayload] | None]:
        async for event in events():
            yield None if event is None else (event, await view.look(event.id, event.type))

    return run


def _with_payload(call: Invocation, way: str) -> Callable[[tuple[LiveEvent, ShownPayload]], Record]:
    as_text = call.out.format is Format.TABLE
    return lambda pair: {**_row(pair[0]), **payload_fields(pair[1], way, as_text=as_text)}


async def _only_once(
    events: AsyncIterator[LiveEvent], wanted: EventFilter, holds: Condition | None
) -> AsyncIterator[LiveEvent | None]:
    """Events that are wanted; and then the end, which a running system does not have."""
    async for event in events:
        if wanted.matches(event) and (holds is None or holds(_row(event))):
            yield event
    raise EndOfEvents


def _row(event: LiveEvent) -> Record:
    return {
        "time": moment(event.time),
        "from": event.sender,
        "to": event.target,
        "type": event.type,
        "bytes": event.bytes,
        "ms": event.ms,
        "decision": event.decision,
        "reason": event.reason,
        "rule": event.rule,
        "id": event.id,
    }
