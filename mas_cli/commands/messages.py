"""`mas send`: messages as one agent of the system."""

from __future__ import annotations

from typing import Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.batches import batch
from mas_cli.input.durations import parse_duration
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.sending_flags import (
    OPERATOR,
    Argument,
    As,
    Delivery,
    DryRun,
    Encrypt,
    Fields,
    JsonFields,
    Lines,
    Pick,
    Priority,
    Rate,
    Target,
    Template,
    Ttl,
    Type,
    parse_pick,
)
from mas_cli.input.time_ranges import parse_coming
from mas_cli.invocation import Invocation
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.progress import Progress
from mas_cli.output.refusals import refusals_in_words
from mas_cli.output.rehearsals import show_rehearsal
from mas_cli.output.sent_rows import SENT_COLUMNS, SENT_MANY_COLUMNS, Tally, sent_row
from mas_core.errors import UsageError


async def send(
    call: Invocation,
    target: Target,
    message_type: Type,
    payload: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    priority: Priority = "normal",
    ttl: Ttl = "1h",
    message_id: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="An id of your own: sent again, it has no second effect."),
    ] = "",
    lines: Lines = False,
    count: Annotated[int, typer.Option(metavar="N", help="Send it so many times.")] = 1,
    rate: Rate = 0,
    template: Template = False,
    encrypt: Encrypt = False,
    delivery: Delivery = "",
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="When to deliver it: a date and time, 18:30, tomorrow."),
    ] = "",
    after: Annotated[str, typer.Option("--after", metavar="DUR", help="After how long to deliver it.")] = "",
    pick: Pick = "best",
    dry_run: DryRun = False,
) -> ExitCode:
    """Send messages and wait until the gateway has taken them.

    A receipt means that the message is safely on its way, not that it was handled. Of many messages the ones
    that fail are listed with the reason, and the exit code is 8. What is sent for later is judged again when it is
    due, and --ttl counts from then on. A target such as capability:math is whoever can do that, and route:NAME
    whom a rule of mas route list leads to; with --pick all each of them gets every message.
    """
    chosen = parse_pick(pick)
    if at and after:
        raise UsageError("--at and --after exclude each other")
    deliver_at = parse_coming(at, "--at", utc=call.flags.utc) if at else None
    deliver_after = parse_duration(after, "--after") if after else 0.0
    if after and deliver_after <= 0:
        raise UsageError("--after is more than 0 s")
    seconds = parse_duration(ttl, "--ttl")
    if count < 1 or rate < 0:
        raise UsageError("--count is at least 1, and --rate is not negative")
    to_all = chosen == "all" and target.startswith(("capability:", "route:"))
    is_batch = lines or count > 1 or to_all
    if dry_run and is_batch:
        raise UsageError("--dry-run tries one message; leave --lines and --count out")
    if is_batch and message_id:
        raise UsageError("--id is the id of one message; with --lines or --count every message has its own")
    source = PayloadSource(payload, fields or (), json_fields or (), lines=lines, template=template)
    if not is_batch:
        (data,) = payloads(source, call.stdin, before_stdin=announced(call))
        async with open_system(call) as system:
            from mas_core.ops import messages
            from mas_core.ops.recipients import recipients

            (target,) = await recipients(system, target, message_type, data, as_agent=as_agent, pick=chosen)
            if dry_run:
                return show_rehearsal(
                    call,
                    await messages.rehearse(
                        system,
                        target,
                        message_type,
                        data,
                        as_agent=as_agent,
                        priority=priority,
                        ttl=seconds,
                        encrypt=encrypt,
                        deliver_at=deliver_at,
                        deliver_after=deliver_after,
                    ),
                )
            with refusals_in_words("send"):
                receipt = await messages.send(
                    system,
                    target,
                    message_type,
                    data,
                    as_agent=as_agent,
                    priority=priority,
                    ttl=seconds,
                    message_id=message_id,
                    encrypt=encrypt,
                    delivery=delivery,
                    deliver_at=deliver_at,
                    deliver_after=deliver_after,
                )
        call.out.record(SENT_COLUMNS, sent_row(receipt, target, message_type))
        if receipt.reason:
            call.talk.say(receipt.reason)
        if receipt.deliver_at:
            call.talk.say(f"until then it can be stopped: mas schedule cancel {receipt.message_id}")
        if receipt.approval:
            call.talk.say(f"it waits for somebody's approval: mas approval get {receipt.approval}")
        call.talk.count(f"follow it with: mas trace {receipt.message_id}")
        return ExitCode.OK

    items = batch(call, source, count)
    tally = Tally(call, target, message_type)
    async with open_system(call) as system:
        from mas_core.ops import messages
        from mas_core.ops.recipients import recipients

        outcomes = messages.send_all(
            system,
            await recipients(system, target, message_type, as_agent=as_agent, pick=chosen),
            message_type,
            items,
            as_agent=as_agent,
            priority=priority,
            ttl=seconds,
            rate=rate,
            encrypt=encrypt,
            delivery=delivery,
            deliver_at=deliver_at,
            deliver_after=deliver_after,
        )
        with Progress(call.talk, 0 if lines else count, "messages") as progress:
            await call.out.listed(SENT_MANY_COLUMNS, tally.rows(outcomes, progress))
    tally.conclude()
    return ExitCode.OK
