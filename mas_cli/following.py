"""Commands that follow something: until a count, a time, Ctrl-C, or a reader that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from mas_cli.input.durations import parse_duration
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_core.errors import StoreUnreachable, UsageError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0

_T = TypeVar("_T")


async def follow(
    call: Invocation,
    columns: Sequence[Column],
    events: Callable[[], AsyncIterator[_T | None]],
    record: Callable[[_T], Record],
    *,
    count: int | None = None,
    duration: str | None = None,
    with_headers: bool = True,
) -> None:
    """Write events as they come.

    Args:
        call: The call.
        columns: How events are shown.
        events: Starts reading where the last reading ended; None now and then while nothing happens.
        record: What is shown of an event.
        count: End after so many.
        duration: End after this time, as it was typed.
        with_headers: Whether headers are still to be written.

    Raises:
        UsageError: `count` or `duration` cannot be one.
        OutputClosed: The reader has gone.
    """
    if count is not None and count < 1:
        raise UsageError("--count is at least 1")
    seconds = None if duration is None else parse_duration(duration, "--for")
    seen = 0
    pause = FIRST_PAUSE
    try:
        async with asyncio.timeout(seconds) as limit:
            while count is None or seen < count:
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
                        if seen == count:
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
    call.talk.count(f"{seen} seen")
