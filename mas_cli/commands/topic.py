"""`mas topic`: logs that some agents publish to and others read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.following import Until, ending, follow
from mas_cli.input.batches import batch
from mas_cli.input.durations import parse_duration
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.sending_flags import (
    Argument,
    As,
    DryRun,
    Fields,
    JsonFields,
    Lines,
    Priority,
    Rate,
    Template,
    Ttl,
)
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_cli.output.refusals import refusals_in_words
from mas_cli.output.rehearsals import show_rehearsal
from mas_cli.output.sent_rows import SENT_COLUMNS, SENT_MANY_COLUMNS, Tally, sent_row
from mas_core.errors import UsageError
from mas_core.ops.system import OPERATOR

if TYPE_CHECKING:
    from mas_core.model.message import AgentMessage
    from mas_core.model.topic import TopicGap
    from mas_core.ops.topics import TopicFacts

_LIST = (
    Column("name", style=lambda _: "name"),
    Column("subscribers", kind="number"),
    Column("rate", header="msg/s", kind="number"),
    Column("last", kind="number"),
    Column("at", header="newest", kind="age"),
    Column("bytes", kind="number"),
    Column("age", header="kept for", kind="duration"),
    Column("max_bytes", header="at most", kind="number"),
    Column("when_full", header="then"),
)
_HEARD = (
    Column("time", kind="clock", width=9),
    Column("topic", width=16),
    Column("number", kind="number", width=6),
    Column("from", width=12),
    Column("type", width=16),
    Column("data", flexible=True, width=20),
)

Topic = Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic, such as orders.created.")]


async def list_topics(
    call: Invocation,
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="Only these: 'orders.*', 'orders.>'; all if left out.")
    ] = ">",
) -> ExitCode:
    """List topics: who listens, how fast messages come, and how much is kept.

    A topic begins with its first message. Subscribers are agents that listened when something last happened.
    """
    async with open_system(call) as system:
        from mas_core.ops import topics

        rows = [_row(item) for item in await topics.topics(system, pattern)]
    call.out.records(_LIST, rows)
    call.talk.count(f"{len(rows)} topics")
    return ExitCode.OK


async def publish(
    call: Invocation,
    topic: Topic,
    payload: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    message_type: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="Type of the message; the topic if left out.")
    ] = "",
    priority: Priority = "normal",
    ttl: Ttl = "1h",
    message_id: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="An id of your own: published again, it has no effect."),
    ] = "",
    lines: Lines = False,
    count: Annotated[int, typer.Option(metavar="N", help="Publish it so many times.")] = 1,
    rate: Rate = 0,
    template: Template = False,
    dry_run: DryRun = False,
) -> ExitCode:
    """Publish messages to a topic, for all who listen and for those who come later.

    A receipt means that the message is in the log. Of many messages the ones that fail are listed with the reason,
    and the exit code is 8.
    """
    seconds = parse_duration(ttl, "--ttl")
    if count < 1 or rate < 0:
        raise UsageError("--count is at least 1, and --rate is not negative")
    is_batch = lines or count > 1
    if is_batch and (message_id or dry_run):
        raise UsageError("--id and --dry-run are for one message; leave --lines and --count out")
    source = PayloadSource(payload, fields or (), json_fields or (), lines=lines, template=template)
    async with open_system(call) as system:
        from mas_core.model.topic import address
        from mas_core.ops import messages

        target, message_type = address(topic, message_type)

        if is_batch:
            tally = Tally(call, target, message_type)
            outcomes = messages.send_all(
                system,
                target,
                message_type,
                batch(call, source, count),
                as_agent=as_agent,
                priority=priority,
                ttl=seconds,
                rate=rate,
            )
            await call.out.listed(SENT_MANY_COLUMNS, tally.rows(outcomes))
            tally.conclude()
            return ExitCode.OK
        (data,) = payloads(source, call.stdin, before_stdin=announced(call))
        if dry_run:
            found = await messages.rehearse(
                system, target, message_type, data, as_agent=as_agent, priority=priority, ttl=seconds
            )
            return show_rehearsal(call, found)
        with refusals_in_words("topic publish"):
            receipt = await messages.send(
                system,
                target,
                message_type,
                data,
                as_agent=as_agent,
                priority=priority,
                ttl=seconds,
                message_id=message_id,
            )
    call.out.record(SENT_COLUMNS, sent_row(receipt, target, message_type))
    if receipt.reason:
        call.talk.say(receipt.reason)
    return ExitCode.OK


async def subscribe(
    call: Invocation,
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="orders.created, 'orders.*' or 'orders.>'.")
    ],
    *,
    as_agent: As = OPERATOR,
    start: Annotated[
        str,
        typer.Option("--from", metavar="now|beginning|NUMBER", help="Where to begin; now if left out."),
    ] = "now",
    durable: Annotated[
        bool, typer.Option("--durable", help="Keep the place: go on there the next time.")
    ] = False,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many.")] = None,
    duration: Annotated[str | None, typer.Option("--for", metavar="DUR", help="End after this time.")] = None,
    until: Until = None,
) -> ExitCode:
    """Show what is published to topics, as an agent that may read them.

    With --durable the place is the agent's: its running instances share what comes, so each message is shown here
    or handled there. What was trimmed before it was read is told as a gap.
    """
    end = ending(count, duration, until)
    begin: str | int = int(start) if start.isascii() and start.isdigit() else start

    def missed(gap: TopicGap) -> None:
        call.talk.warn(
            f"a gap: {gap.count} messages of {gap.topic} were gone before they could be read "
            f"({gap.first} to {gap.last})"
        )

    async with open_system(call) as system:
        from mas_core.ops import topics

        async with topics.listening(
            system, pattern, as_agent=as_agent, start=begin, durable=durable, on_gap=missed
        ) as heard:
            call.talk.count(f"listening to {pattern}, Ctrl-C ends it")
            await follow(call, _HEARD, heard, _heard, end)
    return ExitCode.OK


def _row(item: TopicFacts) -> Record:
    return {
        "name": item.name,
        "subscribers": item.subscribers,
        "rate": item.rate,
        "last": item.last,
        "at": moment(item.at) if item.at else None,
        "bytes": item.bytes,
        "created": moment(item.created),
        "kept_from": item.kept_from or None,
        "age": item.age_ms / 1000,
        "max_bytes": item.max_bytes,
        "max_messages": item.max_messages,
        "when_full": item.when_full,
        "keys": item.keys,
        "partition": item.partition,
    }


def _heard(message: AgentMessage) -> Record:
    return {
        "time": moment(int(message.timestamp * 1000)),
        "topic": message.topic,
        "number": message.number,
        "from": message.sender_id,
        "type": message.message_type,
        "data": message.data,
        "id": message.message_id,
        "priority": message.priority,
    }
