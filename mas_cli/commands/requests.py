"""`mas request`: ask an agent, or all that can do something, and print what they answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.errors import PartlyFailed
from mas_cli.input.expressions import Condition, parse_condition
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
    Priority,
    Target,
    Type,
    parse_pick,
)
from mas_cli.input.sending_flags import Pick as Picked
from mas_cli.invocation import Invocation
from mas_cli.output.agent_logs import logs_named
from mas_cli.output.columns import Column, Record, plain
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.refusals import refusals_in_words
from mas_cli.output.rehearsals import show_rehearsal
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.recipients import Answer

REQUEST_TIMEOUT = 30.0

_ANSWERS = (
    Column("id", style=lambda _: "name"),
    Column("ms", kind="number"),
    Column("reply", flexible=True),
    Column("error.message", header="error", flexible=True),
)


async def request(
    call: Invocation,
    target: Target,
    message_type: Type,
    payload: Argument = None,
    *,
    fields: Fields = None,
    json_fields: JsonFields = None,
    as_agent: As = OPERATOR,
    priority: Priority = "normal",
    raw: Annotated[
        bool, typer.Option("--raw", help="Of a reply with one field, only its value, text without quotes.")
    ] = False,
    message_id: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="An id of your own: asked again, it has no second effect."),
    ] = "",
    encrypt: Encrypt = False,
    delivery: Delivery = "",
    pick: Picked = "best",
    everyone: Annotated[
        bool, typer.Option("--all", help="Ask all that capability:NAME finds, and list what they answer.")
    ] = False,
    expect: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Exit with 1 unless this JMESPath of the reply is true."),
    ] = None,
    dry_run: DryRun = False,
) -> ExitCode:
    """Ask an agent and print the payload of its reply.

    --timeout is how long to wait for the reply, 30s if left out. A target such as capability:math is whoever can
    do that. With --all the answers come as a list; exit code 8 says that some failed.
    """
    given = call.flags.timeout_seconds()
    seconds = REQUEST_TIMEOUT if given is None else given
    holds = None if expect is None else parse_condition(expect, "--expect")
    chosen = "all" if everyone else parse_pick(pick)
    if chosen == "all" and (raw or message_id or dry_run or delivery):
        raise UsageError("--all lists answers; leave --raw, --id, --delivery and --dry-run out")
    source = PayloadSource(payload, fields or (), json_fields or ())
    (data,) = payloads(source, call.stdin, before_stdin=announced(call))
    async with open_system(call) as system:
        from mas_core.ops import messages
        from mas_core.ops.recipients import ask_all, recipients

        asked = await recipients(
            system, target, message_type, data, as_agent=as_agent, pick=chosen, expects_reply=True
        )
        if chosen == "all":
            answers = await ask_all(
                system, asked, message_type, data, as_agent=as_agent, priority=priority, encrypt=encrypt,
                timeout=seconds,
            )  # fmt: skip
            return _listed(call, answers, holds)
        (target,) = asked
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
                    expects_reply=True,
                    encrypt=encrypt,
                ),
            )
        async with messages.connected(system, as_agent) as client:
            started = time.perf_counter()
            with refusals_in_words("request"), logs_named(system.target.project, target):
                reply = await client.request(
                    target,
                    message_type,
                    data,
                    priority=priority,
                    timeout=seconds,
                    message_id=message_id,
                    encrypt=encrypt,
                    delivery=delivery,
                )
            took = time.perf_counter() - started
    _print(call, reply.data, raw=raw)
    call.talk.count(
        f"{target} answered in {took * 1000:.1f} ms; follow it with: mas trace {reply.meta.correlation_id}"
    )
    if holds is not None and not holds(reply.data):
        call.talk.warn(f"the reply is not what --expect says: {expect}")
        return ExitCode.NO
    return ExitCode.OK


def _print(call: Invocation, data: dict[str, object], *, raw: bool) -> None:
    values = list(data.values())
    if not raw or len(values) != 1:
        call.out.document(data)
    elif values[0] is None or isinstance(values[0], bool | dict | list):
        call.out.document(values[0])
    else:
        call.out.raw(plain(values[0]))


def _listed(call: Invocation, answers: list[Answer], holds: Condition | None) -> ExitCode:
    columns = _ANSWERS if any(answer.error for answer in answers) else _ANSWERS[:-1]
    call.out.records(columns, [_row(answer) for answer in answers])
    failed = sum(answer.error is not None for answer in answers)
    if failed:
        raise PartlyFailed(f"{failed} of {len(answers)} agents did not answer as they should", failed=failed)
    others = [
        answer.agent_id
        for answer in answers
        if holds is not None and answer.reply is not None and not holds(answer.reply.data)
    ]
    if others:
        call.talk.warn(f"the reply is not what --expect says: {', '.join(others)}")
    return ExitCode.NO if others else ExitCode.OK


def _row(answer: Answer) -> Record:
    error = answer.error
    return {
        "id": answer.agent_id,
        "ms": round(answer.seconds * 1000, 1),
        "reply": None if answer.reply is None else answer.reply.data,
        "error": None if error is None else {"code": error.code, "message": error.message},
    }
