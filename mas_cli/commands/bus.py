"""`mas bus`: the queues of agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.following import Until, ending, follow
from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.queue_rows import (
    CLAIM_COLUMNS,
    LANE_COLUMN,
    MESSAGE_COLUMNS,
    QUEUE_COLUMNS,
    TRIM_COLUMNS,
    lane_rows,
    message_row,
    queue_row,
)
from mas_core.errors import UsageError
from mas_core.model.priority import LANES
from mas_core.model.queue_order import TRIMMED

if TYPE_CHECKING:
    from mas_core.ops.queues import Look, Queue
    from mas_core.ops.system import System

SHOWN_ON_A_TERMINAL = 100
_MOVING = ("lag", "in_s", "out_s")
_LANE_COLUMNS = (
    QUEUE_COLUMNS[0],
    LANE_COLUMN,
    *(column for column in QUEUE_COLUMNS[1:] if column.key in {"waiting", "in_hand", "oldest", "deliveries"}),
)
_WATCHED = (
    Column("time", kind="clock", width=9),
    *(column._replace(width=max(9, len(column.title))) for column in QUEUE_COLUMNS),
)

AgentId = Annotated[str, typer.Argument(metavar="AGENT", help="Whose queue.")]


async def status(
    call: Invocation,
    *,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Only this agent.")] = "",
    lanes: Annotated[bool, typer.Option("--lanes", help="A row for each lane of priorities.")] = False,
    over: Annotated[
        str, typer.Option(metavar="DUR", help="How long it is looked for rates; 0 for no rates.")
    ] = "500ms",
    watch: Annotated[
        str | None,
        typer.Option(metavar="[=DUR]", help="Look every 2s, or so often, and show what has changed since."),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DUR", help="End watching after this time.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="End watching after so many changes.")
    ] = None,
    until: Until = None,
) -> ExitCode:
    """Show what waits for agents and what their instances have in hand.

    Waiting is what no instance has read, in hand what one has read and not settled, oldest the time since the
    oldest of both was delivered. Rates are those between two looks; lag says how long what waits takes at that
    rate. Retries come again later, because they failed. Deliveries says how often the most often given of those
    in hand was given to an instance: above 1 another had it before.
    """
    end = ending(count, duration, until)
    if watch is None and any(value is not None for value in (count, duration, until)):
        raise UsageError("--count, --for and --until are for watching", hint="mas bus status --watch=2s")
    if lanes and watch is not None:
        raise UsageError("--lanes shows one look, not what changes", hint="leave --watch out")
    seconds = 0.0 if over == "0" else parse_duration(over, "--over")
    agents = [agent] if agent else []
    async with open_system(call) as system:
        from mas_core.ops import queues

        if watch is not None:
            every = parse_duration(watch, "--watch")
            await follow(call, _WATCHED, lambda: _changes(system, agents, every), lambda row: row, end)
            return ExitCode.OK
        found = await queues.look(system, agents)
        if seconds and not lanes:
            await asyncio.sleep(seconds)
            found = await queues.look(system, agents, found)
    if lanes:
        call.out.records(_LANE_COLUMNS, [row for queue in _sorted(found) for row in lane_rows(queue)])
        return ExitCode.OK
    columns = QUEUE_COLUMNS if seconds else [item for item in QUEUE_COLUMNS if item.key not in _MOVING]
    call.out.records(columns, [queue_row(queue) for queue in _sorted(found)])
    waiting = sum(queue.total.waiting for queue in found.queues.values())
    in_hand = sum(queue.total.in_hand for queue in found.queues.values())
    call.talk.count(f"{waiting} waiting, {in_hand} in hand")
    return ExitCode.OK


async def inspect(
    call: Invocation,
    name: AgentId,
    *,
    pending: Annotated[bool, typer.Option("--pending", help="Only what instances have in hand.")] = False,
    idle: Annotated[
        str | None, typer.Option(metavar="DUR", help="Only what one has had in hand for so long.")
    ] = None,
    lane: Annotated[str, typer.Option(metavar="LANE", help="Only of this lane: high, normal, low.")] = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many; all where nobody reads along.")
    ] = None,
    payload: Annotated[
        bool, typer.Option("--payload", help="With the payloads; that they were looked at is recorded.")
    ] = False,
) -> ExitCode:
    """Show the messages of a queue: what instances have in hand first, then what waits.

    Messages lie sealed in frames: without the gateway's keys a frame is one row. A payload is shown as it was
    delivered, so what the policy takes out is not in it; one that is end-to-end encrypted stays encrypted.
    """
    _check_lane(lane)
    if limit is not None and limit < 1:
        raise UsageError("--limit is at least 1")
    seconds = 0.0 if idle is None else parse_duration(idle, "--idle")
    most = SHOWN_ON_A_TERMINAL if limit is None and call.out.is_terminal else limit
    async with open_system(call) as system:
        from mas_core.ops import queues
        from mas_core.ops.audit_questions import note_question

        if payload:
            _ = system.keys
            await note_question(system, "bus.inspect", {"agent": name, "payloads": True})
        sought = queues.Sought(pending, seconds, (lane,) if lane else LANES)
        found = await queues.inspect(system, name, sought, most=most + 1 if most else 0)
    shown = found[:most] if most else found
    columns = (*MESSAGE_COLUMNS, Column("payload", flexible=True)) if payload else MESSAGE_COLUMNS
    call.out.records(columns, [message_row(item, payload=payload) for item in shown])
    if len(shown) < len(found):
        call.talk.warn(f"only {len(shown)} are shown; --limit N shows more")
    elif any(item.problem for item in shown):
        call.talk.warn(
            f"some frames cannot be opened: {next(item.problem for item in shown if item.problem)}"
        )
    return ExitCode.OK


async def claim(
    call: Invocation,
    name: AgentId,
    *,
    idle: Annotated[
        str, typer.Option(metavar="DUR", help="What an instance has had in hand for so long.")
    ] = "60s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and list what it would.")
    ] = False,
) -> ExitCode:
    """Take from instances what they have had in hand for long; others take it over within seconds.

    Instances that died need no command: others take over by themselves. This is for one that lives and hangs. If
    it goes on after all, its work does not count, but what it did outside of the state has happened; so a message
    may be handled twice, and one that may be handled at most once is given up.
    """
    seconds = parse_duration(idle, "--idle")
    async with open_system(call) as system:
        from mas_core.ops import queue_claims

        found = await queue_claims.release(system, name, seconds, dry_run=dry_run)
    result = "would be released" if dry_run else "released"
    call.out.records(
        CLAIM_COLUMNS,
        [{"consumer": one, "frames": count, "result": result} for one, count in sorted(found.items())],
    )
    if found and not dry_run:
        call.talk.say(f"who takes it over: mas bus inspect {name} --pending")
    return ExitCode.OK


async def trim(
    call: Invocation,
    name: AgentId,
    *,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="So many of the newest stay at least; 0 keeps none.")
    ] = None,
    older: Annotated[
        str | None, typer.Option(metavar="DUR", help="Only what was delivered so long ago or earlier.")
    ] = None,
    lane: Annotated[str, typer.Option(metavar="LANE", help="Only of this lane: high, normal, low.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing, and tell what it would.")
    ] = False,
) -> ExitCode:
    """Move what waits in a queue to the dead letters, the oldest first. Nothing is dropped.

    What instances have in hand is left to them. Messages go in whole frames of up to 64, so a few more may stay
    than --keep says. mas dlq retry delivers them again. Who waits for an answer to one of them waits in vain.
    """
    _check_lane(lane)
    if keep is not None and keep < 0:
        raise UsageError("--keep is at least 0")
    older_s = None if older is None else parse_duration(older, "--older")
    async with open_system(call) as system:
        from mas_core.ops import queue_trims

        lanes = (lane,) if lane else LANES
        planned = await queue_trims.plan(system, name, keep=keep, older_s=older_s, lanes=lanes)
        if dry_run:
            call.out.record(
                TRIM_COLUMNS,
                {"agent": name, "messages": planned.messages, "stay": planned.stay, "oldest": planned.oldest},
            )
            call.talk.say(f"would move {planned.messages} messages to the dead letters")
            return ExitCode.OK
        call.ask.one(f"{planned.messages} messages from the queue of {name}, which become dead letters")
        done = await queue_trims.trim(system, planned)
    call.out.record(
        TRIM_COLUMNS,
        {
            "agent": name,
            "messages": done.moved,
            "stay": planned.stay + planned.messages - done.moved,
            "oldest": planned.oldest,
            "frames_left": done.left,
            "problem": done.problem or None,
        },
    )
    if done.left:
        raise PartlyFailed(f"{done.left} frames stay in the queue: {done.problem}")
    if done.moved:
        call.talk.say(f"undo with: mas dlq retry --all --agent {name} --code {TRIMMED}")
    return ExitCode.OK


def _check_lane(lane: str) -> None:
    if lane and lane not in LANES:
        raise UsageError(f"there is no lane {lane!r}", hint="--lane high, normal or low")


async def _changes(system: System, agents: list[str], every: float) -> AsyncIterator[Record | None]:
    """Rows that differ from the look before, all of them at first; None after each look."""
    from mas_core.ops import queues

    before: Look | None = None
    told: dict[str, tuple[object, ...]] = {}
    while True:
        found = await queues.look(system, agents, before)
        for queue in _sorted(found):
            row = queue_row(queue)
            changing = tuple(
                row[name] for name in ("waiting", "in_hand", "in_s", "out_s", "retries", "consumers")
            )
            if told.get(queue.agent_id) != changing:
                told[queue.agent_id] = changing
                yield {"time": moment(found.at), **row}
        before = found
        yield None
        await asyncio.sleep(every)


def _sorted(found: Look) -> list[Queue]:
    """The longest first."""
    return sorted(found.queues.values(), key=lambda queue: (-queue.size, queue.agent_id))
