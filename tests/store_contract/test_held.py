"""Held messages: kept with their facts, decided once, gone with what is known of them."""

import asyncio

import pytest

from mas_core.store.commits import Commit, CommitResult

NAME, ITEM, DECISION = "approval/0-7", "item:0-7", "decision:0-7"
LEASE = 60_000


@pytest.fixture
async def partition(store):
    """Partition 0, owned."""
    opened = store.partition(0)
    await opened.acquire("gw", "mine", LEASE, "2")
    return opened


async def commit(store, partition, write):
    meta = await partition.read_meta("mine")
    batch = Commit(store.keys, 0, {"nonce": "mine", "epoch": meta.epoch}, LEASE)
    write(batch)
    reply = await partition.commit(batch)
    assert reply.result is CommitResult.DONE


async def hold(store, partition, *, seconds=60):
    due = await store.connection.time_ms() + int(seconds * 1000)
    await commit(store, partition, lambda batch: batch.hold(NAME, due, b"sealed", ITEM, b"facts"))
    return due


async def due(store, partition, now):
    lookups = partition.lookups()
    lookups.due_messages(now, 10, 1_000_000)
    await lookups.run()
    return lookups


async def test_a_held_message_is_kept_with_its_facts(store, partition):
    """And is not due before its time."""
    ends = await hold(store, partition)

    assert (await store.records.held())[0] == {ITEM: b"facts"}
    assert await store.records.body_for_later(0, NAME) == b"sealed"
    assert await partition.held_messages() == 1
    assert (await due(store, partition, ends - 1)).due == []
    found = await due(store, partition, ends)
    assert (found.due, found.decisions) == ([(NAME, b"sealed")], {})


async def test_a_decision_makes_it_due_and_comes_with_it(store, partition):
    """Once: who comes second gets what was decided."""
    await hold(store, partition)

    assert await store.records.decide(0, NAME, ITEM, DECISION, b"yes") == ("ok", b"")
    assert await store.records.decide(0, NAME, ITEM, DECISION, b"no") == ("decided", b"yes")
    found = await due(store, partition, await store.connection.time_ms())
    assert (found.due, found.decisions) == ([(NAME, b"sealed")], {NAME: b"yes"})
    assert await store.records.held_fields(0, ITEM, DECISION, "item:0-8") == [b"facts", b"yes", None]


async def test_of_many_at_the_same_moment_one_decides(store, partition):
    """The others are told what it was."""
    await hold(store, partition)

    answers = await asyncio.gather(
        *(store.records.decide(0, NAME, ITEM, DECISION, b"%d" % number) for number in range(20))
    )

    winners = [number for number, (word, _) in enumerate(answers) if word == "ok"]
    assert len(winners) == 1
    assert {text for word, text in answers if word == "decided"} == {b"%d" % winners[0]}


async def test_nobody_decides_what_is_not_there_or_too_late(store, partition):
    """Nothing is written."""
    assert await store.records.decide(0, NAME, ITEM, DECISION, b"yes") == ("missing", b"")
    await hold(store, partition, seconds=-1)
    assert await store.records.decide(0, NAME, ITEM, DECISION, b"yes") == ("late", b"")
    assert (await store.records.held())[0] == {ITEM: b"facts"}


async def test_the_end_leaves_nothing_but_the_outcome(store, partition):
    """Which goes by itself."""
    await hold(store, partition)
    await store.records.decide(0, NAME, ITEM, DECISION, b"yes")

    def end(batch):
        batch.end_hold(NAME, (ITEM, DECISION))
        batch.note_outcome("0-7", b"delivered")

    await commit(store, partition, end)

    assert (await store.records.held())[0] == {}
    assert await store.records.body_for_later(0, NAME) is None
    assert await store.records.approval_outcome(0, "0-7") == b"delivered"
    assert await store.connection.call("PTTL", store.keys.approval(0, "0-7")) > 0
    assert await store.records.decide(0, NAME, ITEM, DECISION, b"yes") == ("missing", b"")


async def test_records_of_circuits_come_and_go(store, partition):
    """And a key that cannot take them stops no commit."""

    def open_two(batch):
        batch.set_breaker("circuit:>bob", b"one")
        batch.set_breaker("circuit:al>bob", b"two")

    await commit(store, partition, open_two)
    await commit(store, partition, lambda batch: batch.set_breaker("circuit:al>bob", None))
    assert await partition.breakers() == {"circuit:>bob": b"one"}

    await store.connection.call("DEL", store.keys.breakers(0))
    await store.connection.call("SET", store.keys.breakers(0), "nonsense")
    await commit(store, partition, open_two)


async def test_an_order_lies_in_the_partition_of_its_target(store):
    """Beside the records of that partition."""
    await store.records.put_breaker_order("bob", "order:bob", b"open")

    found = await store.records.breakers()
    assert [fields for fields in found if fields] == [{"order:bob": b"open"}]
