"""Commands that follow something: until a count, a time, Ctrl-C, or a reader that goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from mas_cli.input.durations import parse_duration
from mas_cli.input.expressions import Condition, parse_condition
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_core.errors import StoreUnreachable, UsageError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0

_T = TypeVar("_T")

Until = Annotated[
    str | None,
    typer.Option("--until", metavar="EXPR", help="End once this JMESPath of the newest JSON is true."),
]


class EndOfEvents(Exception):
    """What is followed has an end, and this is it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a command stops following; without any of them it goes on for ever."""

    count: int | None = None
    seconds: float | None = None
    until: Condition | None = None


def ending(count: int | None, duration: str | None, until: str | None = None) -> Ending:
    """The end that --count, --for and --until ask for.

    Raises:
        UsageError: One of them cannot be.
    """
    if count is not None and count < 1:
        raise UsageError("--count is at least 1")
    return Ending(
        count,
        None if duration is None else parse_duration(duration, "--for"),
        None if until is None else parse_condition(until, "--until"),
    )


@asynccontextmanager
async def limited(call: Invocation, end: Ending, summary: Callable[[], str]) -> AsyncIterator[None]:
    """Stop what is inside after the time of `end`, and say at last how much it was, also after Ctrl-C."""
    try:
        async with asyncio.timeout(end.seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
    except asyncio.CancelledError:
        call.talk.end_line()
        call.talk.count(summary())
        raise
    call.talk.count(summary())


class Reconnects:
    """Says once that the connection is lost, and after how long it is back."""

    def __init__(self, call: Invocation) -> None:
        self._call = call
        self._pause = FIRST_PAUSE
        self._lost: float | None = None

    async def lost(self, error: StoreUnreachable) -> None:
        """Wait before the next attempt, longer each time.

        Raises:
            OutputClosed: The reader has gone.
        """
        if self._lost is None:
            self._lost = time.monotonic()
            self._call.talk.warn(f"connection lost, trying again: {error.message}")
        await asyncio.sleep(self._pause)
        self._call.out.check_reader()
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def answered(self) -> None:
        """Say so if it had been lost."""
        if self._lost is not None:
            self._call.talk.warn(f"connected again after {time.monotonic() - self._lost:.0f} s")
        self._lost, self._pause = None, FIRST_PAUSE


async def follow(
    call: Invocation,
    columns: Sequence[Column],
    events: Callable[[], AsyncIterator[_T | None]],
    record: Callable[[_T], Record],
    end: Ending,
    *,
    with_headers: bool = True,
) -> None:
    """Write events as they come.

    Args:
        call: The call.
        columns: How events are shown.
        events: Starts reading where the last reading ended; None now and then while nothing happens.
        record: What is shown of an event.
        end: When to stop.
        with_headers: Whether headers are still to be written.

    Raises:
        OutputClosed: The reader has gone.
    """
    seen = 0
    is_true = False
    connection = Reconnects(call)
    async with limited(call, end, lambda: f"{seen} seen"):
        while not is_true and (end.count is None or seen < end.count):
            try:
                async for event in events():
                    connection.answered()
                    if event is None:
                        call.out.check_reader()
                        continue
                    shown = record(event)
                    call.out.event(columns, shown, first=with_headers and seen == 0)
                    seen += 1
                    is_true = end.until is not None and end.until(shown)
                    if is_true or seen == end.count:
                        break
            except EndOfEvents:
                break
            except StoreUnreachable as error:
                await connection.lost(error)
