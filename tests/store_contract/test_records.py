"""Registrations, policy, state, audit and messages for later, as operators and owners see them."""

import asyncio

import pytest

from mas_core.store.commits import Commit, CommitResult
from mas_core.store.records import AUDIT_PAGE

LEASE = 60_000


async def commit(store, write, partition=0):
    """Carry out what `write` adds to a commit, as the owner."""
    owned = store.partition(partition)
    meta = await owned.read_meta("mine")
    if meta is None:
        await owned.acquire("gw", "mine", LEASE, "2")
    batch = Commit(store.keys, partition, {"nonce": "mine"}, LEASE)
    write(batch)
    assert (await owned.commit(batch)).result is CommitResult.DONE


async def test_registrations_come_back_as_they_were_written(store):
    """Sorted over all partitions; a removed one is gone, what it left is not."""
    records = store.records
    for agent_id in ("zoe", "bob", "alice"):
        await records.put_registrations([(agent_id, agent_id.encode(), b"mac")])
    await records.delete_registrations(["bob"])

    assert await records.agent_ids() == ["alice", "zoe"]
    assert await records.agents(["zoe", "bob"]) == [{"record": b"zoe", "mac": b"mac"}, {}]
    assert await records.agents([]) == []


async def test_hostile_members_of_the_registry_are_left_out(store):
    """Somebody who can write the set of agents stops nobody from reading it."""
    await store.records.put_registrations([("alice", b"record", b"mac")])
    for member in (b"\xff\xfe", b"a:b", b"a*", b"", b"a\n"):
        await store.connection.call("SADD", store.keys.agents(0), member)

    assert await store.records.agent_ids() == ["alice"]


async def test_hostile_field_names_do_no_harm(store):
    """A hash with a field that is not text can still be read."""
    await store.records.put_registrations([("alice", b"record", b"mac")])
    partition = store.agent("alice").partition
    await store.connection.call("HSET", store.keys.agent(partition, "alice"), b"\xff\xfe", "x")

    (fields,) = await store.records.agents(["alice"])

    assert fields["record"] == b"record"


async def test_the_policy_is_replaced_only_over_the_expected_revision(store):
    """The first of two that changed the same policy wins; every document is kept in the history."""
    records = store.records

    assert await records.policy() == {}
    assert await records.put_policy(0, 1, b"one", b"mac1")
    assert not await records.put_policy(0, 1, b"other", b"mac2")
    assert await records.put_policy(1, 2, b"two", b"mac3")

    assert await records.policy() == {"revision": b"2", "document": b"two", "mac": b"mac3"}
    assert await store.connection.call("XLEN", store.keys.policy_history()) == 2


async def test_of_many_changes_at_once_one_is_written(store):
    """The comparison happens in the store."""
    done = await asyncio.gather(
        *(store.records.put_policy(0, 1, str(number).encode(), b"mac") for number in range(10))
    )

    assert sum(done) == 1


async def test_a_raised_revision_stops_commits_under_the_old_policy(store):
    """In every partition."""
    for number in (0, 1):
        partition = store.partition(number)
        await partition.acquire("gw", "mine", LEASE, "2")
    await store.records.raise_revision()

    for number in (0, 1):
        batch = Commit(store.keys, number, {"nonce": "mine", "policy_revision": ""}, LEASE)
        assert (await store.partition(number).commit(batch)).result is CommitResult.STALE_POLICY
        assert (await store.partition(number).read_meta("mine")).policy_revision == "1"


async def test_state_is_replaced_only_over_the_expected_revision(store):
    """Compare and set; without an expectation it is replaced as it is."""
    agent = store.agent("alice")

    assert await agent.get_state() == (0, b"")
    assert await agent.set_state(0, b'{"n":1}') == (True, 1)
    assert await agent.set_state(0, b'{"n":9}') == (False, 1)
    assert await agent.set_state(None, b'{"n":2}') == (True, 2)
    assert await agent.get_state() == (2, b'{"n":2}')


async def test_of_many_state_changes_at_once_one_is_written(store):
    """The comparison happens in the store."""
    agent = store.agent("alice")

    done = await asyncio.gather(*(agent.set_state(0, str(number).encode()) for number in range(10)))

    assert sum(won for won, _ in done) == 1
    assert (await agent.get_state())[0] == 1


async def write_blocks(store, sizes):
    """Audit blocks of these many records each; all records."""
    texts = []
    for size in sizes:
        block = [b'{"seq":%d}' % (len(texts) + number) for number in range(1, size + 1)]
        texts += block
        written = (b"\n".join(block), len(texts), f"h{len(texts)}")
        await commit(store, lambda batch, written=written: batch.add_audit(*written))
    return texts


@pytest.mark.parametrize("newest_first", [False, True])
async def test_the_audit_is_read_page_by_page_both_ways(store, newest_first):
    """Every block once and in order, over several pages."""
    texts = await write_blocks(store, [1 + number % 3 for number in range(2 * AUDIT_PAGE + 5)])

    blocks = [block async for block in store.records.audit_blocks(0, newest_first=newest_first)]

    found = [text for block in (blocks[::-1] if newest_first else blocks) for text in block.records()]
    assert found == texts
    assert await store.records.audit_head(0) == (len(texts), f"h{len(texts)}")
    assert [block async for block in store.records.audit_blocks(1)] == []
    assert await store.records.audit_head(1) == (0, "")


@pytest.mark.parametrize("count", [AUDIT_PAGE - 1, AUDIT_PAGE, AUDIT_PAGE + 1])
@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_page_that_is_just_full_ends_well(store, count, newest_first):
    """Neither a block too many nor one too few."""
    await write_blocks(store, [1] * count)

    blocks = [block.last_seq async for block in store.records.audit_blocks(0, newest_first=newest_first)]

    assert sorted(blocks) == list(range(1, count + 1))


async def test_the_audit_can_be_read_from_a_record_on(store):
    """The block that holds the record comes first, even when the record is not its last."""
    await write_blocks(store, [3, 3, 3])

    assert [block.last_seq async for block in store.records.audit_blocks(0, first_seq=5)] == [6, 9]
    assert [block.last_seq async for block in store.records.audit_blocks(0, first_seq=7)] == [9]
    assert [block.last_seq async for block in store.records.audit_blocks(0, first_seq=10)] == []


async def test_messages_for_later_are_found_when_they_are_due(store):
    """Oldest first, at most so many, until they are removed."""

    def write(batch):
        for name, due in (("m3", 300), ("m1", 100), ("m2", 200)):
            batch.add_later(name, due, name.encode())

    await commit(store, write)

    async def due(now, most=10, most_bytes=1_000_000, *, more=False):
        lookups = store.partition(0).lookups()
        lookups.due_messages(now, most, most_bytes)
        await lookups.run()
        assert lookups.has_more_due is more
        return lookups.due

    assert await due(99) == []
    assert await due(200) == [("m1", b"m1"), ("m2", b"m2")]
    assert await due(300, most=1, more=True) == [("m1", b"m1")]
    assert await due(300, most_bytes=1, more=True) == [("m1", b"m1")]
    assert await due(300, most_bytes=4, more=True) == [("m1", b"m1"), ("m2", b"m2")]
    await commit(store, lambda batch: batch.remove_later("m1"))
    assert await due(300) == [("m2", b"m2"), ("m3", b"m3")]


async def test_lookups_answer_everything_in_one_go(store):
    """Sessions, known ids, backlog, a delivered frame, and the time and policy revision."""

    def write(batch):
        batch.remember_session("alice", "s1", "normal", 3, b"receipt", 3)
        batch.remember_id(7, "alice id", b"decided", 60_000)

    await commit(store, write)
    lookups = store.partition(0).lookups()
    lookups.session("alice", "s1")
    lookups.session("bob", "s1")
    lookups.seen_ids(7, ["alice id", "alice other"])
    lookups.backlog("bob")
    lookups.inbox_frame("bob", "normal", "1-1")
    await lookups.run()

    assert lookups.sessions == {
        ("alice", "s1"): {"last:normal": b"3", "receipt:normal:3": b"receipt"},
        ("bob", "s1"): {},
    }
    assert lookups.seen == {"alice id": b"decided"}
    assert lookups.unsettled == {"bob": {"high": 0, "normal": 0, "low": 0}}
    assert lookups.inbox_frames == {("bob", "normal", "1-1"): None}
    assert lookups.policy_revision == ""
    assert abs(lookups.now - await store.connection.time_ms()) < 5_000


async def test_dead_letters_and_waiting_frames_are_counted(store):
    """Over all partitions and lanes."""
    for partition in (0, 1):
        await commit(store, lambda batch: batch.add_dead_letter({"message_id": "m"}), partition)
        await store.connection.call("XADD", store.keys.ingress(partition, "low"), "*", "h", "x")

    assert await store.records.dead_letters() == 2
    assert await store.records.waiting_frames() == 2


async def test_the_audit_is_followed_from_where_one_was(store):
    """Only newer blocks come, with their partition."""
    await commit(store, lambda batch: batch.add_audit(b"one", 1, "a"))
    await commit(store, lambda batch: batch.add_audit(b"two", 2, "b"))

    blocks = await store.records.new_audit_blocks({0: 1, 1: 0}, 10)

    assert [(partition, block.last_seq, block.text) for partition, block in blocks] == [(0, 2, b"two")]


async def test_gateways_come_and_go(store):
    """Each has one status, the last; the roll says who owns what and what operators want."""
    await store.gateways.call_the_roll("gw-a", b"one")
    await store.gateways.call_the_roll("gw-b", b"one")
    await store.partition(1).acquire("gw-a", "nonce", 5000, "2")
    await store.gateways.put_drain_order("gw-b", b"order")

    found = await store.gateways.call_the_roll("gw-a", b"two")
    await store.gateways.forget(["gw-b"])
    await store.gateways.remove_drain_orders(["gw-b"])

    assert found.heartbeats == {"gw-a": b"two", "gw-b": b"one"}
    assert found.orders == {"gw-b": b"order"}
    assert [lease.owner for lease in found.leases] == ["", "gw-a"]
    assert found.now < found.leases[1].ends <= found.now + 5000
    assert await store.gateways.heartbeats() == {"gw-a": b"two"}
    assert await store.gateways.drain_orders() == {}


async def test_news_wake_whoever_waits_for_them(store):
    """Old ones wake nobody twice."""
    nothing = await store.gateways.wait_for_news("0-0", 1)
    waiting = asyncio.create_task(store.gateways.wait_for_news(nothing, 60_000))
    await store.gateways.tell_news()

    read_to = await asyncio.wait_for(waiting, 10)

    assert nothing == "0-0"
    assert read_to != "0-0"
    assert await store.gateways.wait_for_news(read_to, 1) == read_to
