"""The tables of the event store, and the statements on them; one form for every database.

Writers take turns by the row of `event_head`, so numbers are dense and become visible in their order: whoever has
read number n will never see a smaller one appear.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Delete,
    Index,
    Insert,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    UnicodeText,
    UniqueConstraint,
    Update,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from mas_core.base.name_patterns import ANYTHING, is_exact
from mas_core.events.patterns import literal_prefix
from mas_core.events.query import EventQuery

metadata = MetaData()

# Names are ASCII and compared byte by byte; SQL Server takes a collation for that.
_NAME: Final = String(256).with_variant(String(256, collation="Latin1_General_BIN2"), "mssql")
_TEXT: Final = UnicodeText().with_variant(MEDIUMTEXT(), "mysql", "mariadb")

EVENTS = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("type", _NAME, nullable=False),
    Column("source", _NAME, nullable=False),
    Column("topic", _NAME, nullable=False),
    Column("id", _NAME, nullable=False),
    Column("body", _TEXT, nullable=False),
    UniqueConstraint("source", "id", name="events_once"),
    Index("events_by_time", "time"),
    Index("events_by_type", "type", "seq"),
    Index("events_by_source", "source", "seq"),
    Index("events_by_topic", "topic", "seq"),
)
HEAD = Table(
    "event_head",
    metadata,
    Column("one", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
)
CONSUMERS = Table(
    "event_consumers",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
MARKS = Table(
    "event_marks",
    metadata,
    Column("consumer", _NAME, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
)
SNAPSHOTS = Table(
    "event_snapshots",
    metadata,
    Column("name", _NAME, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("state", LargeBinary().with_variant(LargeBinary(1 << 24), "mysql", "mariadb"), nullable=False),
)


def take_turn() -> Update:
    """Changes nothing, and makes other writers wait until the transaction ends."""
    return update(HEAD).where(HEAD.c.one == 1).values(seq=HEAD.c.seq)


def head() -> Select[int]:
    """The number of the newest event."""
    return select(HEAD.c.seq).where(HEAD.c.one == 1)


def move_head(seq: int) -> Update:
    """From now on this is the newest."""
    return update(HEAD).where(HEAD.c.one == 1).values(seq=seq)


def known(ids: Collection[str]) -> Select[str, str, int]:
    """Source, id and number of events that have one of these ids."""
    return select(EVENTS.c.source, EVENTS.c.id, EVENTS.c.seq).where(EVENTS.c.id.in_(ids))


def add_events() -> Insert:
    """Adds events; their columns are given with it."""
    return insert(EVENTS)


def page(query: EventQuery, after: int, last: int, limit: int) -> Select[int, str]:
    """Number and text of the next events that a query may want; what it wants exactly is asked afterwards.

    Args:
        query: What is wanted.
        after: Only numbers above this, or, newest first, only numbers up to `last`.
        last: The largest number.
        limit: How many at most.
    """
    columns = EVENTS.c
    found = select(columns.seq, columns.body).where(columns.seq > after, columns.seq <= last)
    if query.since is not None:
        found = found.where(columns.time >= query.since)
    if query.until is not None:
        found = found.where(columns.time < query.until)
    if query.sources:
        found = found.where(columns.source.in_(sorted(query.sources)))
    for column, pattern in ((columns.type, query.type), (columns.topic, query.topic)):
        if is_exact(pattern):
            found = found.where(column == pattern)
        elif pattern != ANYTHING and (prefix := literal_prefix(pattern)):
            found = found.where(column.startswith(prefix, autoescape=True))
    return found.order_by(columns.seq.desc() if query.newest_first else columns.seq).limit(limit)


def consumers() -> Select[str, int]:
    """All consumers and their positions."""
    return select(CONSUMERS.c.name, CONSUMERS.c.position).order_by(CONSUMERS.c.name)


def position(consumer: str) -> Select[int]:
    """Up to where a consumer has processed everything."""
    return select(CONSUMERS.c.position).where(CONSUMERS.c.name == consumer)


def add_consumer(consumer: str, at: int) -> Insert:
    """A consumer that there was not."""
    return insert(CONSUMERS).values(name=consumer, position=at)


def move_position(consumer: str, to: int) -> Update:
    """Move a consumer on; never back."""
    return (
        update(CONSUMERS).where(CONSUMERS.c.name == consumer, CONSUMERS.c.position < to).values(position=to)
    )


def drop_consumer(consumer: str) -> tuple[Delete, Delete]:
    """Forget a consumer."""
    return (
        delete(MARKS).where(MARKS.c.consumer == consumer),
        delete(CONSUMERS).where(CONSUMERS.c.name == consumer),
    )


def marks(consumer: str) -> Select[int]:
    """Numbers beyond its position that a consumer has processed."""
    return select(MARKS.c.seq).where(MARKS.c.consumer == consumer)


def add_marks() -> Insert:
    """Numbers that were processed before smaller ones."""
    return insert(MARKS)


def drop_marks(consumer: str, up_to: int) -> Delete:
    """Marks that the position says as well."""
    return delete(MARKS).where(MARKS.c.consumer == consumer, MARKS.c.seq <= up_to)


def least_position() -> Select[int]:
    """Up to where every consumer has processed everything; null without consumers."""
    return select(func.min(CONSUMERS.c.position))


def trim(before: int, up_to: int) -> Delete:
    """Events of before a moment, up to a number."""
    return delete(EVENTS).where(EVENTS.c.time < before, EVENTS.c.seq <= up_to)


def snapshot(name: str) -> Select[int, bytes]:
    """The number and the state of a snapshot."""
    return select(SNAPSHOTS.c.seq, SNAPSHOTS.c.state).where(SNAPSHOTS.c.name == name)


def replace_snapshot(name: str, seq: int, state: bytes) -> tuple[Delete, Insert]:
    """Put a snapshot in place of the one before."""
    return (
        delete(SNAPSHOTS).where(SNAPSHOTS.c.name == name),
        insert(SNAPSHOTS).values(name=name, seq=seq, state=state),
    )


def has_head() -> Select[int]:
    """Whether the row that writers take turns by is there."""
    return select(literal_column("1")).select_from(HEAD)


def first_head() -> Insert:
    """The row that writers take turns by."""
    return insert(HEAD).values(one=1, seq=0)


Row = Mapping[str, Any]
Rows = Sequence[Row]
