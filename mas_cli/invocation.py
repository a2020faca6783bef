"""One call of one command: what it was given, and the common way to run it."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from mas_cli.command_table import Command
from mas_cli.deadlines import interrupted_after
from mas_cli.errors import ReadOnly, Terminated
from mas_cli.input.confirmation import Confirmation
from mas_cli.input.shared_flags import SharedFlags
from mas_cli.operator_permissions import permission_of
from mas_cli.output.diagnostics import Diagnostics
from mas_cli.output.exit_codes import ExitCode, exit_code_of
from mas_cli.output.formats import Format, Output
from mas_cli.output.streams import can_ask, standard_error, standard_output
from mas_core.errors import DeadlineExceeded, InternalError, MasError

BACKSTOP = 1.0
"""Seconds that an asynchronous command has to notice its deadline before it is interrupted wherever it is."""


@dataclass(frozen=True)
class Invocation:
    """What a command function gets as its first argument."""

    command: Command
    flags: SharedFlags
    out: Output
    talk: Diagnostics
    ask: Confirmation
    stdin: TextIO
    reason: str = ""
    """Why, as the operator says; it is recorded with what is written."""
    command_line: str = ""
    """What was typed, without secrets."""


def invocation(
    command: Command,
    flags: SharedFlags,
    confirmed: str | None = None,
    *,
    reason: str = "",
    command_line: str = "",
) -> Invocation:
    """The call that `flags` describe, on the streams of this process.

    Raises:
        UsageError: A flag has a value that it cannot have.
        ReadOnly: The command changes something, and --read-only was given or the context is read-only.
        ContextNotFound: There is no such context.
    """
    if flags.read_only and command.impact != "read":
        raise ReadOnly(
            f"mas {command.name} changes something, and --read-only was given",
            hint="leave out --read-only, and unset MAS_READ_ONLY",
        )
    if command.impact != "read" and command.scope == "system":
        from mas_cli.connection import check_context

        check_context(command, flags)
    out = standard_output(f"mas.{command.name.replace(' ', '.')}/1", flags, Format(command.output))
    talk = standard_error(flags, json_errors=out.format.is_json)
    ask = Confirmation(
        talk,
        sys.stdin,
        can_ask=can_ask() and not flags.no_input and not out.format.is_json,
        yes=flags.yes,
        confirmed=confirmed,
    )
    return Invocation(command, flags, out, talk, ask, sys.stdin, reason, command_line)


CommandFunction = Callable[..., ExitCode] | Callable[..., Coroutine[Any, Any, ExitCode]]


def execute(function: CommandFunction, call: Invocation, arguments: dict[str, object]) -> ExitCode:
    """Run a command function to its exit code; an error is reported and becomes its code."""
    try:
        code = _returned(function, call, arguments)
        call.out.flush()
    except MasError as error:
        code = exit_code_of(error)
        call.out.close()
        call.talk.error(error, code)
    finally:
        call.out.close()
    return code


def _returned(function: CommandFunction, call: Invocation, arguments: dict[str, object]) -> ExitCode:
    seconds = None if call.command.own_timeout else call.flags.timeout_seconds()
    is_async = inspect.iscoroutinefunction(function)
    limit = seconds + BACKSTOP if is_async and seconds is not None else seconds
    with orderly_end(), interrupted_after(limit, lambda: _too_late(seconds)):
        if permission_of(call.command) == "own":
            from mas_cli.connection import admit_owner

            admit_owner(call)
        result = function(call, **arguments)
        code = asyncio.run(_awaited(result, seconds)) if inspect.iscoroutine(result) else result
    if not isinstance(code, ExitCode):
        raise InternalError(f"mas {call.command.name} returned {code!r} instead of an exit code")
    return code


async def _awaited(result: Awaitable[ExitCode], seconds: float | None) -> ExitCode:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await result
    except TimeoutError as error:
        if limit.expired():
            raise _too_late(seconds) from error
        raise


@contextmanager
def orderly_end() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that whatever is open gets closed."""

    def terminated(*_: object) -> None:
        # `timeout` and others send it twice, and the second one must not cut off what the first one closes.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _too_late(seconds: float | None) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"not done after {seconds:g} s" if seconds else "not done in time", hint="--timeout 2m"
    )
