"""Replay: events of a store once more, as they came, faster or slower, or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from mas_core.errors import UsageError
from mas_core.events.query import EventQuery, StoredEvent
from mas_core.events.store import EventStore


async def replay(
    store: EventStore,
    query: EventQuery | None = None,
    *,
    speed: float = 0.0,
    longest_pause: float | None = None,
) -> AsyncGenerator[StoredEvent]:
    """Events that are wanted, in the order in which they came, with the pauses that there were between them.

    Args:
        store: An open store.
        query: Which.
        speed: How many times as fast as they came: 1 is as it was, 0 is without any pause.
        longest_pause: Seconds that no pause is longer than.

    Raises:
        UsageError: The speed is below 0.
        EventStoreUnavailable: The database failed.
    """
    if not 0 <= speed < float("inf"):
        raise UsageError(
            "the speed of a replay is 0 for all at once, 1 for as it was, 10 for ten times as fast"
        )
    loop = asyncio.get_running_loop()
    due, before = loop.time(), None
    async for stored in store.query(query or EventQuery()):
        if speed and before is not None:
            # Clocks of sources differ, so what came later may be of before.
            pause = max(0, stored.event.time - before) / 1000 / speed
            due += pause if longest_pause is None else min(pause, longest_pause)
            if (ahead := due - loop.time()) > 0:
                await asyncio.sleep(ahead)
        before = stored.event.time
        yield stored
