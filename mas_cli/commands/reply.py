"""`mas reply`: answer in place of an agent, to try what talks to it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.following import Until, ending, follow
from mas_cli.input.payload import PayloadSource, payloads
from mas_cli.input.prompts import announced
from mas_cli.input.sending_flags import OPERATOR, As
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.moments import moment
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.stand_in import Answer, Answered

PROGRAM_SECONDS = 30.0
LOOK_SECONDS = 0.5

_COLUMNS = (
    Column("time", kind="clock", width=9),
    Column("from", width=12),
    Column("type", width=16),
    Column("payload", flexible=True, width=20),
    Column("reply", flexible=True, width=20),
    Column("error.message", header="error", flexible=True, width=12),
)


async def reply(
    call: Invocation,
    types: Annotated[
        str, typer.Argument(metavar="TYPE", help="Message type to answer, or a glob such as 'math.*'.")
    ],
    *,
    as_agent: As = OPERATOR,
    echo: Annotated[bool, typer.Option("--echo", help="Answer with the payload that came.")] = False,
    data: Annotated[
        str | None, typer.Option(metavar="PAYLOAD", help="Answer with this: JSON, @file, or -.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="CMD", help="Answer with what this program writes; it gets the payload as JSON."
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many.")] = None,
    duration: Annotated[str | None, typer.Option("--for", metavar="DUR", help="End after this time.")] = None,
    until: Until = None,
) -> ExitCode:
    """Answer messages in place of an agent that does not run, one line for each.

    What a program writes is the reply if it is a JSON object, and else its `output`. Messages of other types fail
    as those without a handler do.
    """
    if sum((echo, data is not None, command is not None)) != 1:
        raise UsageError("say what to answer", hint=("--echo", "--data PAYLOAD", "--command CMD"))
    end = ending(count, duration, until)
    answer = _answer(call, data, command)
    async with open_system(call) as system:
        from mas_core.ops.stand_in import standing_in

        async with standing_in(system, as_agent, types, answer) as answered:
            call.talk.count(f"answering {types} as {as_agent}, Ctrl-C ends it")
            await follow(call, _COLUMNS, lambda: _events(answered), _row, end)
    return ExitCode.OK


def _answer(call: Invocation, data: str | None, command: str | None) -> Answer:
    from mas_core.ops import stand_in

    if data is not None:
        (value,) = payloads(PayloadSource(data), call.stdin, before_stdin=announced(call))
        return stand_in.says(value)
    if command is None:
        return stand_in.echo
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command cannot be split into words: {error}") from None
    if not words:
        raise UsageError("--command names no program")
    return stand_in.asks_program(words, PROGRAM_SECONDS)


async def _events(answered: asyncio.Queue[Answered]) -> AsyncIterator[Answered | None]:
    while True:
        try:
            yield await asyncio.wait_for(answered.get(), LOOK_SECONDS)
        except TimeoutError:
            yield None


def _row(item: Answered) -> Record:
    message, error = item.message, item.error
    return {
        "time": moment(int(message.timestamp * 1000)),
        "from": message.sender_id,
        "type": message.message_type,
        "id": message.message_id,
        "payload": message.data,
        "reply": item.reply,
        "ms": round(item.seconds * 1000, 1),
        "error": None if error is None else {"code": error.code, "message": error.message},
    }
