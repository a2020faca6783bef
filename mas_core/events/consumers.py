"""Consumers of an event store: what each has processed, so that the rest comes again after a restart.

At least once: an event counts as processed when it is marked, in whatever order. A consumer is one process at a
time; two of one name both get everything.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from mas_core.errors import InvalidIdentifier
from mas_core.events import tables
from mas_core.events.database import Database
from mas_core.events.query import EventQuery, StoredEvent
from mas_core.events.store import EventStore
from mas_core.model.event import VISIBLE


class Position(NamedTuple):
    """How far a consumer is."""

    name: str
    seq: int
    """Everything up to here is processed."""


class EventConsumer:
    """Goes through the events of a store, and goes on there after a restart.

        consumer = EventConsumer(store, "billing", EventQuery(type="order.*"))
        async for seq, event in consumer.unprocessed():
            await bill(event)
            await consumer.mark(seq)

    Args:
        store: An open store.
        name: Under which its position is kept.
        query: What it wants; its `after` is where it begins when it is new.

    Raises:
        InvalidIdentifier: The name is empty, or has other than visible ASCII characters.
    """

    def __init__(self, store: EventStore, name: str, query: EventQuery | None = None) -> None:
        if not VISIBLE.fullmatch(name):
            raise InvalidIdentifier(f"{name[:80]!r} cannot be the name of a consumer of events")
        self._store = store
        self.name = name
        self._query = query or EventQuery()
        self._open: set[int] = set()
        self._read_to = 0

    async def unprocessed(self, *, follow: bool = False) -> AsyncGenerator[StoredEvent]:
        """Events that are not marked yet, in their order.

        Args:
            follow: Whether to go on with those that come, for ever.

        Raises:
            EventStoreUnavailable: The database failed.
        """
        position, marked = await self._store.run(self._load)
        self._read_to, self._open = position, set()
        query = replace(self._query, after=position, newest_first=False)
        found = self._store.follow(query) if follow else self._store.query(query)
        async for stored in found:
            if stored is None:
                continue
            self._read_to = stored.seq
            if stored.seq not in marked:
                self._open.add(stored.seq)
                yield stored

    async def mark(self, *seqs: int) -> None:
        """These are processed, and do not come again.

        Raises:
            EventStoreUnavailable: The database failed, and nothing is marked.
        """
        still_open = self._open.difference(seqs)
        done_to = min(still_open) - 1 if still_open else max(self._read_to, *seqs, 0)
        beyond = sorted({seq for seq in seqs if seq > done_to})

        def save(database: Database) -> None:
            with database.transaction() as connection:
                connection.execute(tables.move_position(self.name, done_to))
                connection.execute(tables.drop_marks(self.name, done_to))
                known = set(connection.scalars(tables.marks(self.name)))
                if new := [seq for seq in beyond if seq not in known]:
                    connection.execute(
                        tables.add_marks(), [{"consumer": self.name, "seq": seq} for seq in new]
                    )

        await self._store.run(save)
        self._open = still_open

    async def position(self) -> int:
        """Everything up to this number is processed.

        Raises:
            EventStoreUnavailable: The database failed.
        """
        return (await self._store.run(self._load))[0]

    def _load(self, database: Database) -> tuple[int, set[int]]:
        with database.transaction() as connection:
            position = _position(connection, self.name)
            if position is not None:
                return position, set(connection.scalars(tables.marks(self.name)))
        with database.transaction() as connection:
            connection.execute(tables.take_turn())
            if _position(connection, self.name) is None:
                connection.execute(tables.add_consumer(self.name, self._query.after))
        return self._query.after, set()


async def consumers(store: EventStore) -> list[Position]:
    """All consumers of a store, by name.

    Raises:
        EventStoreUnavailable: The database failed.
    """

    def fetch(database: Database) -> list[Position]:
        with database.transaction() as connection:
            return [Position(name, seq) for name, seq in connection.execute(tables.consumers())]

    return await store.run(fetch)


async def forget(store: EventStore, name: str) -> bool:
    """Forget a consumer, so that nothing is kept for it; whether there was one.

    Raises:
        EventStoreUnavailable: The database failed.
    """

    def drop(database: Database) -> bool:
        with database.transaction() as connection:
            is_there = _position(connection, name) is not None
            for statement in tables.drop_consumer(name):
                connection.execute(statement)
            return is_there

    return await store.run(drop)


async def trim(store: EventStore, before: int) -> int:
    """Delete events of before a moment that every consumer has processed; returns how many.

    Args:
        store: The store.
        before: Unix milliseconds.

    Raises:
        EventStoreUnavailable: The database failed.
    """

    def cut(database: Database) -> int:
        with database.transaction() as connection:
            connection.execute(tables.take_turn())
            processed = connection.scalar(tables.least_position())
            up_to = connection.scalar(tables.head()) if processed is None else processed
            return connection.execute(tables.trim(before, up_to or 0)).rowcount

    return await store.run(cut)


async def save_snapshot(store: EventStore, name: str, seq: int, state: bytes) -> None:
    """Keep what somebody made of all events up to `seq`, in place of what was kept before.

    Raises:
        EventStoreUnavailable: The database failed, and the one before is still there.
    """

    def save(database: Database) -> None:
        with database.transaction() as connection:
            for statement in tables.replace_snapshot(name, seq, state):
                connection.execute(statement)

    await store.run(save)


async def load_snapshot(store: EventStore, name: str) -> tuple[int, bytes]:
    """The number and the state that were kept last; 0 and nothing when there are none.

    Raises:
        EventStoreUnavailable: The database failed.
    """

    def fetch(database: Database) -> tuple[int, bytes]:
        with database.transaction() as connection:
            found = connection.execute(tables.snapshot(name)).first()
            return (int(found[0]), bytes(found[1])) if found else (0, b"")

    return await store.run(fetch)


def _position(connection: Connection, name: str) -> int | None:
    return connection.scalar(tables.position(name))
