"""Bounded buffers between who emits events and who takes them; what happens when one is full is chosen and seen."""

from __future__ import annotations

import asyncio
from collections import deque
from enum import StrEnum
from typing import Final

from mas_core.errors import UsageError
from mas_core.model.event import Event

USUAL_SIZE: Final = 1000
_LARGEST: Final = 10_000_000


class Overflow(StrEnum):
    """What happens to an event when the buffer is full."""

    WAIT = "wait"
    """Whoever dispatches waits until there is room: nothing is lost."""
    DROP_OLDEST = "drop_oldest"
    """The oldest event in the buffer is dropped and counted: nobody waits."""


class Buffer:
    """Events that wait, first in, first out.

    Args:
        size: Events that may wait at the same time.
        overflow: What happens when so many do.

    Raises:
        UsageError: The size is below 1, or the overflow is not known.
    """

    def __init__(self, size: int = USUAL_SIZE, overflow: Overflow | str = Overflow.WAIT) -> None:
        if not 1 <= size <= _LARGEST:
            raise UsageError(f"a buffer of events has 1 to {_LARGEST:,} places")
        try:
            self.overflow = Overflow(overflow)
        except ValueError:
            raise UsageError(
                f"{str(overflow)[:40]!r} is nothing that can happen when a buffer is full",
                hint="wait or drop_oldest",
            ) from None
        self.size = size
        self.dropped = 0
        """Events that were dropped because it was full."""
        self._events: deque[Event] = deque()
        self._drops = self.overflow is Overflow.DROP_OLDEST
        self._takers: deque[asyncio.Future[None]] = deque()
        self._givers: deque[asyncio.Future[None]] = deque()
        self._watchers: deque[asyncio.Future[None]] = deque()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._events)

    def offer(self, event: Event) -> bool:
        """Take an event in at once; False when it is full and the giver has to wait."""
        events = self._events
        if len(events) >= self.size:
            if not self._drops:
                return self._is_closed
            events.popleft()
            self.dropped += 1
        elif self._givers and not self._drops:
            # Who waited longer comes first.
            return self._is_closed
        if not self._is_closed:
            events.append(event)
            if self._takers:
                _wake(self._takers)
        return True

    async def put(self, event: Event) -> None:
        """Take an event in as soon as there is room."""
        while len(self._events) >= self.size and not self._is_closed:
            waiter = asyncio.get_running_loop().create_future()
            self._givers.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                _leave(self._givers, waiter)
                raise
        if not self._is_closed:
            self._events.append(event)
            _wake(self._takers)

    async def get(self) -> Event | None:
        """The next event as soon as there is one; None when it is closed and empty."""
        while not self._events:
            # Whoever comes for more has done with what it had.
            while self._watchers:
                _wake(self._watchers)
            if self._is_closed:
                return None
            waiter = asyncio.get_running_loop().create_future()
            self._takers.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                _leave(self._takers, waiter)
                raise
        event = self._events.popleft()
        if self._givers:
            _wake(self._givers)
        return event

    def newest(self, limit: int) -> list[Event]:
        """The newest events that wait, oldest first; they go on waiting."""
        return list(self._events)[-limit:] if limit > 0 else []

    async def emptied(self) -> None:
        """Wait until it is empty and its only taker has come for more."""
        while not self._is_closed and (self._events or not self._takers):
            waiter = asyncio.get_running_loop().create_future()
            self._watchers.append(waiter)
            await waiter

    def close(self, *, keep: bool) -> None:
        """Take nothing more; nobody waits for room any more.

        Args:
            keep: Whether what waits can still be taken out.
        """
        self._is_closed = True
        if not keep:
            self._events.clear()
        for waiters in (self._takers, self._givers, self._watchers):
            while waiters:
                _wake(waiters)


def _wake(waiters: deque[asyncio.Future[None]]) -> None:
    while waiters:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return


def _leave(waiters: deque[asyncio.Future[None]], waiter: asyncio.Future[None]) -> None:
    """Somebody gives up; if it was their turn already, it is the next one's."""
    if waiter.done() and not waiter.cancelled():
        _wake(waiters)
    elif waiter in waiters:
        waiters.remove(waiter)
