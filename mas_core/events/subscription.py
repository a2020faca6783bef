"""Subscriptions: who wants which events, and how it went; and named streams, which are read instead of called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mas_core.events.buffers import Buffer
from mas_core.events.selection import Selection
from mas_core.model.event import Event

Handler = Callable[[Event], object] | Callable[[Event], Awaitable[object]]


class Subscription:
    """One subscription of an `EventDispatcher`; an async context manager that ends it.

    Args:
        name: What it is called, in errors and counts.
        selection: Which events it wants.
        close: Ends it at the dispatcher.
        buffer: Where events wait for it; None where its handler is called at once.
    """

    def __init__(
        self,
        name: str,
        selection: Selection,
        close: Callable[[Subscription], None],
        buffer: Buffer | None = None,
    ) -> None:
        self.name = name
        self.selection = selection
        self.buffer = buffer
        self.delivered = 0
        """Events that were handed to it."""
        self.handler_errors = 0
        """Events whose handler raised."""
        self.undecided = 0
        """Events that had not what its filter asks about, which is no match."""
        self.filter_errors = 0
        """Events at which its filter raised, which is no match."""
        self.disabled = ""
        """Why it was switched off; empty while it is on."""
        self.failures_in_a_row = 0
        self.worker: asyncio.Task[None] | None = None
        self.is_closed = False
        self._close = close

    @property
    def dropped(self) -> int:
        """Events that were dropped because its buffer was full."""
        return self.buffer.dropped if self.buffer else 0

    @property
    def waiting(self) -> int:
        """Events that wait in its buffer."""
        return len(self.buffer) if self.buffer else 0

    def close(self) -> None:
        """End it: nothing is handed to it any more, and what waits for its handler is given up."""
        self._close(self)

    def __await__(self) -> Generator[object, object, Self]:
        """Nothing has to be waited for; `await dispatcher.subscribe(...)` may be written all the same."""
        yield from ()
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventStream(Subscription):
    """A named buffer of events, to be read whenever it suits; reading ends when the stream is closed and empty."""

    buffer: Buffer

    async def next(self) -> Event | None:
        """The next event as soon as there is one; None when the stream is closed and empty."""
        return await self.buffer.get()

    def recent(self, limit: int = 50) -> list[Event]:
        """The newest events that wait, oldest first; they go on waiting."""
        return self.buffer.newest(limit)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self.buffer.get()
        if event is None:
            raise StopAsyncIteration
        return event


@dataclass(frozen=True, slots=True)
class DispatcherMetrics:
    """What a dispatcher counted, over all its subscriptions, also those that were closed."""

    events_dispatched: int
    deliveries: int
    handler_errors: int
    undecided: int
    filter_errors: int
    dropped: int
    waiting: int
    subscriptions: int
    disabled: int
