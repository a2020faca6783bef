"""How late the event loop is: what runs too long in it keeps everything else waiting."""

from __future__ import annotations

import asyncio
from collections import deque

LOOK_S = 0.25
KEPT_S = 10.0
"""A delay is told for so long."""


class LoopLag:
    """Keeps how much later than asked for the event loop goes on, from `start` to `stop`."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque(maxlen=int(KEPT_S / LOOK_S))
        """When, and by how many seconds."""
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, in the loop that runs."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    @property
    def worst_ms(self) -> int:
        """The longest delay of the last seconds."""
        if not self._late:
            return 0
        newest = self._late[-1][0]
        return max(0, *(int(late * 1000) for at, late in self._late if at > newest - KEPT_S))

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._late.append((loop.time(), loop.time() - due))
