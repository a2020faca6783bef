"""The event store: events in a database, in the order in which they came, each once.

Whatever waits at the same time is written in one transaction; an append returns when its transaction is on the
disk. Numbers are dense and count from 1.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from mas_core.errors import EventInvalid, NotStarted
from mas_core.events import tables
from mas_core.events.database import Database
from mas_core.events.query import EventQuery, StoredEvent
from mas_core.events.writing import Row, row_of, write
from mas_core.model.cloud_events import decode_cloudevent
from mas_core.model.event import Event

MOST_AT_ONCE: Final = 1_000
_PAGE: Final = 500
_THREADS: Final = 4
_ALL: Final = EventQuery()
_LAST: Final = (1 << 63) - 1
_T = TypeVar("_T")


class EventStore:
    """Keeps events; use it as an async context manager.

        async with EventStore(".mas/events/events.sqlite") as store:
            await store.append(Event("order.created", "shop", {"amount": 120}))
            async for seq, event in store.query(EventQuery(type="order.*")):
                ...

    Args:
        where: A file for SQLite, or any URL that SQLAlchemy knows, such as `postgresql://host/events`.
    """

    def __init__(self, where: Path | str) -> None:
        self._where = where
        self._database: Database | None = None
        self._threads = ThreadPoolExecutor(1, "events")
        self._waiting: list[tuple[Row, asyncio.Future[int]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._grown = asyncio.Event()

    async def open(self) -> None:
        """Open the database, and make its tables where they are missing.

        Raises:
            EventStoreUnavailable: It does not answer, or is none.
            ConfigurationError: The URL cannot be used, or its driver is not installed.
        """
        loop = asyncio.get_running_loop()
        self._database = await loop.run_in_executor(self._threads, Database, self._where)
        if not self._database.is_in_memory:
            self._threads.shutdown(wait=False)
            self._threads = ThreadPoolExecutor(_THREADS, "events")

    async def close(self) -> None:
        """Write what waits, and close the database."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])
        if self._database is not None:
            database, self._database = self._database, None
            await asyncio.get_running_loop().run_in_executor(self._threads, database.close)
        self._threads.shutdown(wait=True)

    async def append(self, event: Event) -> int:
        """Keep an event; returns its number once it is on the disk.

        One of the same source and id that is there already is kept as it is, and its number returned.

        Raises:
            EventInvalid: JSON cannot say it.
            EventStoreUnavailable: The database failed; whether the event is kept is not known.
        """
        return (await self.append_many([event]))[0]

    async def append_many(self, events: Iterable[Event]) -> list[int]:
        """Keep events, in this order; numbers and errors as for `append`."""
        rows = [row_of(event) for event in events]
        self._require()
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in rows]
        self._waiting += zip(rows, answers, strict=True)
        if self._waiting and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write())
        found = await asyncio.gather(*answers, return_exceptions=True)
        for item in found:
            if isinstance(item, BaseException):
                raise item
        return [item for item in found if isinstance(item, int)]

    async def query(
        self, query: EventQuery = _ALL, *, limit: int | None = None
    ) -> AsyncGenerator[StoredEvent]:
        """Events that are wanted, in the order in which they came, or the newest first.

        Those that come while it reads are not among them.

        Args:
            query: Which.
            limit: At most so many.

        Raises:
            EventStoreUnavailable: The database failed.
            EventInvalid: What stands in the database is no event.
        """
        last = await self.head()
        after, given = query.after, 0
        while limit is None or given < limit:
            # A page that a filter thins out goes on with the next one.
            rows = await self.read(query, after, last, _PAGE if limit is None else min(_PAGE, limit))
            for seq, text in rows:
                event = _decoded(seq, text)
                if query.matches(event):
                    yield StoredEvent(seq, event)
                    given += 1
                    if given == limit:
                        return
            if not rows:
                return
            if query.newest_first:
                last = rows[-1][0] - 1
            else:
                after = rows[-1][0]

    async def follow(
        self,
        query: EventQuery = _ALL,
        *,
        every: float = 0.25,
        most_behind: int | None = None,
        skipped: Callable[[int], None] = lambda _count: None,
    ) -> AsyncGenerator[StoredEvent | None]:
        """Events as they come, from after `query.after` on; None now and then while there are none.

        Args:
            query: Which.
            every: Seconds between looks for what other processes wrote.
            most_behind: A reader that is further behind the newest event than this skips the oldest.
            skipped: Told how many numbers were skipped, each time.

        Raises:
            EventStoreUnavailable: The database failed.
            EventInvalid: What stands in the database is no event.
        """
        after = query.after
        while True:
            self._grown.clear()
            if most_behind is not None and (missed := await self.head() - most_behind - after) > 0:
                after += missed
                skipped(missed)
            rows = await self.read(query, after, _LAST, min(_PAGE, most_behind or _PAGE))
            for seq, text in rows:
                after = seq
                event = _decoded(seq, text)
                if query.matches(event):
                    yield StoredEvent(seq, event)
            if not rows:
                yield None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._grown.wait(), every)

    async def head(self) -> int:
        """The number of the newest event; 0 when there is none.

        Raises:
            EventStoreUnavailable: The database failed.
        """

        def fetch(database: Database) -> int:
            with database.transaction() as connection:
                return connection.scalar(tables.head()) or 0

        return await self.run(fetch)

    async def read(self, query: EventQuery, after: int, last: int, limit: int) -> Sequence[tuple[int, str]]:
        """Numbers and texts of events that a query may want; see `query` for those that it wants."""
        statement = tables.page(query, after, last, limit)

        def fetch(database: Database) -> Sequence[tuple[int, str]]:
            with database.transaction() as connection:
                return [(seq, text) for seq, text in connection.execute(statement)]

        return await self.run(fetch)

    async def run(self, work: Callable[[Database], _T]) -> _T:
        """Run something on the database in a thread.

        Raises:
            NotStarted: The store is not open.
            EventStoreUnavailable: The database failed.
        """
        database = self._require()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, database)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _require(self) -> Database:
        if self._database is None:
            raise NotStarted("the event store is not open: use `async with EventStore(...) as store:`")
        return self._database

    async def _write(self) -> None:
        """Write what waits, and what came meanwhile, a transaction each."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            rows = [row for row, _ in batch]
            try:
                numbers: Sequence[int | BaseException] = await self.run(partial(write, rows))
            except Exception as error:  # noqa: BLE001 - whoever appended is told
                numbers = [error] * len(batch)
            for (_, answer), number in zip(batch, numbers, strict=True):
                if answer.done():
                    continue
                if isinstance(number, BaseException):
                    answer.set_exception(number)
                else:
                    answer.set_result(number)
            self._grown.set()


def _decoded(seq: int, text: str) -> Event:
    try:
        return decode_cloudevent(text.encode())
    except (EventInvalid, UnicodeEncodeError) as error:
        raise EventInvalid(
            f"what stands as event {seq} in the event store is none: {error}", seq=seq
        ) from None
