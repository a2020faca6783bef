"""How late the event loop is: what runs too long in it keeps everything else waiting."""

from __future__ import annotations

import asyncio
from collections import deque

KEPT_S = 10.0
"""A delay is told for so long."""


class LoopLag:
    """Sleeps for its caller, and keeps how much later than asked for the loop went on."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque(maxlen=1000)
        """When, and by how many seconds."""

    async def sleep(self, seconds: float) -> None:
        """Sleep, and note how late it ended."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        await asyncio.sleep(seconds)
        self._late.append((loop.time(), loop.time() - due))

    @property
    def worst_ms(self) -> int:
        """The longest delay of the last seconds."""
        if not self._late:
            return 0
        newest = self._late[-1][0]
        return max(0, *(int(late * 1000) for at, late in self._late if at > newest - KEPT_S))
