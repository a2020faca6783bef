"""Logs of topics: what is kept of them, what stands in the way, and who reads them together."""

import pytest

from mas_core.model.frame import Frame
from mas_core.model.topic import TopicLimits
from mas_core.store.commits import Commit, CommitResult
from mas_core.store.topics import RELEASED

LEASE = 60_000
NOW = 1_000_000


@pytest.fixture
async def partition(store):
    """Partition 0, owned under the nonce `mine`."""
    opened = store.partition(0)
    await opened.acquire("gw", "mine", LEASE, "2")
    return opened


async def append(store, partition, last, *, count=1, now=NOW, size=100, **limits):
    """Add a frame whose last message has this number."""
    expected = {"nonce": "mine", "epoch": "1", "layout": "2"}
    commit = Commit(store.keys, 0, expected, LEASE)
    frame = Frame(b"h", b"x" * (size - 1))
    commit.append_to_topic("news", frame, last=last, count=count, now=now, limits=TopicLimits(**limits))
    assert (await partition.commit(commit)).result is CommitResult.DONE


async def entries(store):
    """Ids of what is in the log."""
    return [found.entry for found in await store.topics.read(0, {"news": "0-0"}, 10)]


async def test_a_log_keeps_so_many_messages(store, partition):
    """In whole frames: the oldest goes once none of its messages has to stay."""
    for last in (4, 8, 12, 16):
        await append(store, partition, last, count=4, max_messages=8)
    assert await entries(store) == ["12-0", "16-0"]
    assert await store.topics.sizes(0) == {"news": 200}


async def test_a_log_keeps_so_many_bytes(store, partition):
    """The newest frame stays, however large it is."""
    for last in range(1, 6):
        await append(store, partition, last, max_bytes=250)
    assert await entries(store) == ["4-0", "5-0"]
    await append(store, partition, 6, size=1000, max_bytes=250)
    assert await entries(store) == ["6-0"]


async def test_a_log_keeps_what_is_young_enough(store, partition):
    """Trimmed with the next message, or by a look at it."""
    await append(store, partition, 1, now=NOW, age_ms=1000)
    await append(store, partition, 2, now=NOW + 500, age_ms=1000)
    await append(store, partition, 3, now=NOW + 1200, age_ms=1000)
    assert await entries(store) == ["2-0", "3-0"]
    lookups = partition.lookups()
    lookups.trim_log("news", NOW + 600, 0, 10**9)
    await lookups.run()
    assert await entries(store) == ["3-0"]
    assert (lookups.log_sizes["news"].bytes, lookups.log_sizes["news"].oldest) == (100, NOW + 1200)
    lookups = partition.lookups()
    lookups.trim_log("news", NOW * 2, 0, 10**9)
    await lookups.run()
    assert (lookups.log_sizes["news"].bytes, lookups.log_sizes["news"].oldest) == (0, 0)


@pytest.mark.parametrize("forged", ["3-0", "18446744073709551615-18446744073709551615"])
async def test_what_is_in_the_way_of_a_commit_goes(store, partition, forged):
    """An entry under a number that is still to come, or at the end of time, stops nothing and costs no message."""
    await append(store, partition, 1)
    await append(store, partition, 2)
    await store.connection.call("XADD", store.keys.topic(0, "news"), forged, "h", b"?", "b", b"?")
    await append(store, partition, 3)
    found = await entries(store)
    assert found[-1] == "3-0"
    assert forged not in found or forged == "3-0"
    await append(store, partition, 4)
    assert (await entries(store))[-1] == "4-0"


async def test_a_key_of_another_kind_is_no_log(store, partition):
    """It is replaced, since nothing of it was ours."""
    await store.connection.call("SET", store.keys.topic(0, "news"), "nonsense")
    await append(store, partition, 1)
    assert await entries(store) == ["1-0"]


async def test_a_group_keeps_its_place_and_hands_over_what_is_left(store, partition):
    """What a consumer did not acknowledge goes to the next one, whether it left or vanished."""
    logs = store.topics
    for last in (1, 2, 3):
        await append(store, partition, last)
    assert await logs.create_group(0, "news", "bob/news", "1-0") == 1
    assert await logs.create_group(0, "news", "bob/news", "0-0") == 1
    got = await logs.read_group(0, ["news"], "bob/news", "one", 10)
    assert [found.entry for found in got] == ["2-0", "3-0"]
    await logs.acknowledge([(0, "news", "2-0")], "bob/news")
    assert await logs.create_group(0, "news", "bob/news", "0-0") == 3
    await logs.leave([(0, "news")], "bob/news", "one")
    [left] = await logs.consumers(0, "news", "bob/news")
    assert (left.name, left.in_hand) == (RELEASED, 1)
    assert await logs.take_over(0, "news", "bob/news", "two", RELEASED) == 1
    [own] = await logs.read_own(0, "news", "bob/news", "two")
    assert (own.entry, own.is_gone) == ("3-0", False)
    assert [item.name for item in await logs.consumers(0, "news", "bob/news")] == ["two"]
    await logs.drop_group(0, "news", "bob/news")
    with pytest.raises(Exception, match="no group"):
        await logs.consumers(0, "news", "bob/news")


async def test_facts_are_told_without_the_messages(store, partition):
    """How many entries, from where to where, and how many messages have come lately."""
    for last in range(10, 200, 10):
        await append(store, partition, last, count=10, now=NOW + last)
    [facts, nothing] = await store.topics.facts(0, ["news", "other"], NOW + 100)
    assert (facts.entries, facts.first, facts.last, facts.recent, facts.is_whole) == (
        19, "10-0", "190-0", 100, True,
    )  # fmt: skip
    assert (nothing.entries, nothing.recent) == (0, 0)
