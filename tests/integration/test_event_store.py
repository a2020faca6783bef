"""The event store, on SQLite, on PostgreSQL where it is installed, and on SQL Server where one is named."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import stat
import subprocess
import sys
from contextlib import aclosing

import pytest
from sqlalchemy import create_engine

from mas_core.errors import ConfigurationError, EventInvalid, EventStoreUnavailable, NotStarted, UsageError
from mas_core.events import tables
from mas_core.events.consumers import (
    EventConsumer,
    Position,
    consumers,
    forget,
    load_snapshot,
    save_snapshot,
    trim,
)
from mas_core.events.query import EventQuery
from mas_core.events.replay import replay
from mas_core.events.store import EventStore
from mas_core.model.event import Event
from tests.support.postgres import postgres_programs, postgres_server

HAS_POSTGRES = importlib.util.find_spec("psycopg") is not None and postgres_programs() is not None


@pytest.fixture(scope="module")
def postgres_url():
    """One server for all tests."""
    with postgres_server() as url:
        yield url


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param(
            "mssql",
            marks=pytest.mark.skipif(
                "MAS_TEST_MSSQL_URL" not in os.environ, reason="MAS_TEST_MSSQL_URL names no SQL Server"
            ),
        ),
        pytest.param(
            "postgresql",
            marks=pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server is installed"),
        ),
    ]
)
def where(request, tmp_path):
    """An empty place for events."""
    if request.param == "sqlite":
        return tmp_path / "events" / "events.sqlite"
    is_mssql = request.param == "mssql"
    url = os.environ["MAS_TEST_MSSQL_URL"] if is_mssql else request.getfixturevalue("postgres_url")
    engine = create_engine(url)
    tables.metadata.drop_all(engine)
    engine.dispose()
    return url


async def test_events_are_kept_once_in_their_order(where):
    """Numbers are dense from 1; one of the same source and id keeps its number, also after the store was closed."""
    events = [Event("a", "s", number, id=f"e{number}") for number in range(5)]
    async with EventStore(where) as store:
        assert await store.append_many(events[:3]) == [1, 2, 3]
        assert await store.append_many([events[1], events[3], events[3]]) == [2, 4, 4]
        assert await store.append(Event("a", "t", 9, id="e1")) == 5
    async with EventStore(where) as store:
        assert await store.append_many(events) == [1, 2, 3, 4, 6]
        kept = [(seq, event.source, event.data) async for seq, event in store.query()]

    assert kept == [(1, "s", 0), (2, "s", 1), (3, "s", 2), (4, "s", 3), (5, "t", 9), (6, "s", 4)]


async def test_what_is_written_at_the_same_time_shares_transactions(where, monkeypatch):
    """A hundred appends take a few, and every one gets its own number."""
    written = []
    from mas_core.events import store as module

    monkeypatch.setattr(module, "write", _counting(module.write, written))
    async with EventStore(where) as store:
        numbers = await asyncio.gather(*(store.append(Event("a", "s", number)) for number in range(100)))

    assert sorted(numbers) == list(range(1, 101))
    assert len(written) <= 3


async def test_events_are_found_by_time_type_source_topic_and_content(where):
    """Each alone and together, oldest and newest first, also where a page holds nothing of it."""
    async with EventStore(where) as store:
        await store.append_many(
            [
                Event(f"{kind}.{n % 3}", f"s{n % 2}", {"n": n}, f"t.{n % 5}" if n % 5 else "", time=1_000 + n)
                for n in range(700)
                for kind in ("order", "Order_", "orde%")
            ]
        )

        async def found(limit=None, **wanted):
            return [event.data["n"] async for _, event in store.query(EventQuery(**wanted), limit=limit)]

        every = range(700)
        assert await found(type="order.1") == [n for n in every if n % 3 == 1]
        assert await found(type="order.*", source="s1") == [n for n in every if n % 2]
        assert await found(type="order.>", topic="t.2") == [n for n in every if n % 5 == 2]
        assert await found(type="*.1", topic="t.>") == [
            n for n in every if n % 3 == 1 and n % 5 for _ in "123"
        ]
        assert await found(type="order.*", since=1_100, until=1_103) == [100, 101, 102]
        assert await found(type="order.*", filter="data.n > 697") == [698, 699]
        assert await found(type="order.*", filter={"data.n": 5}) == [5]
        assert await found(type="order.*", newest_first=True, limit=3) == [699, 698, 697]
        assert await found(source=["s0", "s1"], after=2097) == [699, 699, 699]
        assert await found(type="nothing") == []


async def test_what_was_not_marked_comes_again_after_a_restart(where):
    """E5, for events: marks in any order are kept, and only what is processed stays away."""
    async with EventStore(where) as store:
        await store.append_many([Event("order" if n % 2 else "other", "s", n) for n in range(10)])
        consumer = EventConsumer(store, "billing", EventQuery(type="order"))
        first = [seq async for seq, _ in consumer.unprocessed()]
        await consumer.mark(first[0])
        await consumer.mark(first[2], first[4])
        position = await consumer.position()
    async with EventStore(where) as store:
        await store.append(Event("order", "s", 11))
        consumer = EventConsumer(store, "billing", EventQuery(type="order"))
        again = [(seq, event.data) async for seq, event in consumer.unprocessed()]
        await consumer.mark(*(seq for seq, _ in again))
        rest = [seq async for seq, _ in EventConsumer(store, "billing").unprocessed()]
        everybody = await consumers(store)

    assert first == [2, 4, 6, 8, 10]
    assert position == 3
    assert again == [(4, 3), (8, 7), (11, 11)]
    assert rest == []
    assert everybody == [Position("billing", 11)]


async def test_a_consumer_follows_what_comes(where):
    """Also what another connection writes; one without a position begins where it is told."""
    async with EventStore(where) as store, EventStore(where) as other:
        await store.append(Event("a", "s", 0))
        consumer = EventConsumer(store, "c", EventQuery(after=1))
        seen = []
        async with asyncio.timeout(10), aclosing(consumer.unprocessed(follow=True)) as events:
            await other.append(Event("a", "s", 1))
            async for seq, event in events:
                seen.append(event.data)
                await consumer.mark(seq)
                if event.data == 2:
                    break
                await store.append(Event("a", "s", 2))

    assert seen == [1, 2]


async def test_only_what_everybody_has_processed_is_trimmed(where):
    """A consumer that is forgotten holds up nobody."""
    async with EventStore(where) as store:
        await store.append_many([Event("a", "s", n, time=n) for n in range(10)])
        consumer = EventConsumer(store, "slow")
        async for seq, _ in consumer.unprocessed():
            if seq <= 3:
                await consumer.mark(seq)
        first = await trim(store, 5)
        assert await forget(store, "slow")
        assert not await forget(store, "slow")
        second = await trim(store, 5)
        left = [seq async for seq, _ in store.query()]
        after = await store.append(Event("a", "s", "new"))

    assert (first, second, left, after) == (3, 2, [6, 7, 8, 9, 10], 11)


async def test_a_snapshot_is_kept_in_place_of_the_one_before(where):
    """With the number up to which it goes."""
    async with EventStore(where) as store:
        assert await load_snapshot(store, "totals") == (0, b"")
        await save_snapshot(store, "totals", 3, b"\x00one")
        await save_snapshot(store, "totals", 7, b"two")
        assert await load_snapshot(store, "totals") == (7, b"two")


async def test_two_writers_leave_no_gap_and_no_order_turns_around(where):
    """Whoever has read a number never sees a smaller one appear."""
    async with EventStore(where) as one, EventStore(where) as two, EventStore(where) as reader:
        writing = asyncio.gather(
            *(
                store.append(Event("a", f"s{number}", word))
                for number, store in enumerate((one, two))
                for word in range(50)
            )
        )
        seen = []
        async with asyncio.timeout(30), aclosing(reader.follow(every=0.01)) as events:
            async for stored in events:
                if stored is not None:
                    seen.append(stored.seq)
                if len(seen) == 100:
                    break
        await writing

    assert seen == list(range(1, 101))


async def test_a_replay_keeps_the_pauses(where):
    """At the speed that is asked for, by the time of the events; without a speed at once."""
    async with EventStore(where) as store:
        await store.append_many(
            [Event("a", "s", number, time=time) for number, time in enumerate((0, 2_000, 1_000, 60_000))]
        )
        pauses = []

        async def asleep(seconds):
            pauses.append(seconds)

        loop = asyncio.get_running_loop()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "time", lambda: 0.0)
            patch.setattr(asyncio, "sleep", asleep)
            order = [event.data async for _, event in replay(store, speed=10.0)]
            capped = [event.data async for _, event in replay(store, speed=1.0, longest_pause=1.5)]
        at_once = [event.data async for _, event in replay(store, EventQuery(since=1_000, until=2_500))]
        with pytest.raises(UsageError):
            await anext(replay(store, speed=-1))

    # The clock stands still here, so each pause holds those before it.
    assert pauses == pytest.approx([0.2, 0.2, 6.1, 1.5, 1.5, 3.0])
    assert order == capped == [0, 1, 2, 3]
    assert at_once == [1, 2]


async def test_files_are_for_their_owner_only(tmp_path):
    """The database, what SQLite puts beside it, and the folder."""
    place = tmp_path / "events" / "events.sqlite"
    async with EventStore(place) as store:
        await store.append(Event("a", "s"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.parent.iterdir()}

    assert modes == dict.fromkeys(("events.sqlite", "events.sqlite-wal", "events.sqlite-shm"), 0o600)
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


async def test_what_cannot_be_read_again_is_not_written(tmp_path):
    """Too large, too deep, or no JSON; others are untouched, and a closed store says so."""
    deep: list[object] = []
    for _ in range(70):
        deep = [deep]
    async with EventStore(tmp_path / "e.sqlite") as store:
        for data in ("x" * 1_000_001, deep, float("nan"), {1: "a", "1": "b"}):
            with pytest.raises(EventInvalid):
                await store.append(Event("a", "s", data))
        assert await store.append(Event("a", "s")) == 1
    with pytest.raises(NotStarted):
        await store.append(Event("a", "s"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("nonsense://host/db", ConfigurationError),
        ("no url://", ConfigurationError),
        ("postgresql://user:hunter2@127.0.0.1:1/db", EventStoreUnavailable),
    ],
)
async def test_a_place_that_cannot_be_used_is_told_without_its_password(place, expected):
    """As an error with words that help."""
    if place.startswith("postgresql") and not importlib.util.find_spec("psycopg"):
        expected = ConfigurationError

    with pytest.raises(expected) as told:
        await EventStore(place).open()

    assert "hunter2" not in str(told.value)


async def test_a_file_that_is_no_database_is_told(tmp_path):
    """And left as it is; so is a link."""
    place = tmp_path / "events.sqlite"
    place.write_bytes(b"not a database, but a text of some length" * 100)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for path in (place, tmp_path / "link"):
        with pytest.raises(EventStoreUnavailable):
            await EventStore(path).open()

    assert place.read_bytes().startswith(b"not a database")


def _counting(write, written):
    def counted(rows, database):
        written.append(len(rows))
        return write(rows, database)

    return counted


def test_other_databases_are_loaded_when_they_are_named():
    """Opening SQLite loads no driver of another database."""
    program = """
import asyncio, sys
from mas_core.events.store import EventStore
async def main():
    async with EventStore("sqlite://"): pass
asyncio.run(main())
assert not {"psycopg", "mssql_python", "pyodbc"} & set(sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
