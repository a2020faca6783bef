"""Commands that follow something: until a count, a time, Ctrl-C, or a reader that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_core.errors import StoreUnreachable, UsageError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0

_T = TypeVar("_T")


class EndOfEvents(Exception):
    """What is followed has an end, and this is it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """When a command stops following; without either it goes on for ever."""

    count: int | None = None
    seconds: float | None = None


def ending(count: int | None, duration: str | None) -> Ending:
    """The end that --count and --for ask for.

    Raises:
        UsageError: One of them cannot be.
    """
    if count is not None and count < 1:
        raise UsageError("--count is at least 1")
    return Ending(count, None if duration is None else parse_duration(duration, "--for"))


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
    pause = FIRST_PAUSE
    try:
        async with asyncio.timeout(end.seconds) as limit:
            while end.count is None or seen < end.count:
                try:
                    async for event in events():
                        if pause > FIRST_PAUSE:
                            call.talk.warn("connected again")
                            pause = FIRST_PAUSE
                        if event is None:
                            call.out.check_reader()
                            continue
                        call.out.event(columns, record(event), first=with_headers and seen == 0)
                        seen += 1
                        if seen == end.count:
                            break
                except EndOfEvents:
                    break
                except StoreUnreachable as error:
                    if pause == FIRST_PAUSE:
                        call.talk.warn(f"connection lost, trying again: {error.message}")
                    await asyncio.sleep(pause)
                    call.out.check_reader()
                    pause = min(pause * 2, LONGEST_PAUSE)
    except TimeoutError:
        if not limit.expired():
            raise
    except asyncio.CancelledError:
        call.talk.end_line()
        call.talk.count(f"{seen} seen")
        raise
    call.talk.count(f"{seen} seen")
