"""Time limits of handlers: one that takes too long is ended, and its message has failed.

All that run are looked at every so often, which costs a message less than a timer of its own. A handler that never
awaits cannot be ended: it blocks the whole process, whose heartbeats then lapse.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

MIN_INTERVAL_S = 0.01
MAX_INTERVAL_S = 1.0
NO_LIMIT: Final = float("inf")


class TimeLimits:
    """Ends the handlers of one agent.

    Args:
        limits: The limits that its handlers have, in seconds; `NO_LIMIT` for none.
    """

    def __init__(self, limits: Iterable[float]) -> None:
        shortest = min(limits, default=NO_LIMIT)
        self._interval = max(MIN_INTERVAL_S, min(MAX_INTERVAL_S, shortest / 4))
        self._now = 0.0
        self._running: dict[asyncio.Task[Any], float] = {}
        self._cut: dict[asyncio.Task[Any], int] = {}
        """Handlers that were ended, and how often that was tried: they may take their time to clean up."""
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start looking."""
        self._now = asyncio.get_running_loop().time()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def begin(self, worker: asyncio.Task[Any], limit: float) -> None:
        """A handler begins in this task, which runs one at a time."""
        self._running[worker] = self._now + self._interval + limit

    def end(self, worker: asyncio.Task[Any]) -> bool:
        """It has ended; whether that was because of its limit."""
        self._running.pop(worker, None)
        cuts = self._cut.pop(worker, 0) if self._cut else 0
        for _ in range(cuts):
            worker.uncancel()
        return cuts > 0 and not worker.cancelling()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._interval)
            self._now = loop.time()
            for worker, ends_at in self._running.items():
                if ends_at <= self._now:
                    self._cut[worker] = self._cut.get(worker, 0) + 1
                    worker.cancel()
