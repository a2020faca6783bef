"""A batch is written as a whole or not at all."""

import pytest

from mas_core.model.frame import Frame
from mas_core.store.commits import Commit, CommitResult

COUNTS = {"high": 16, "normal": 8, "low": 2}
LEASE = 60_000
FRAME = Frame(b"header", b"body")


@pytest.fixture
async def partition(store):
    """Partition 0, owned under the nonce `mine`."""
    opened = store.partition(0)
    await opened.acquire("gw", "mine", LEASE, "2")
    return opened


def expected(**changed):
    fields = {
        "nonce": "mine",
        "epoch": "1",
        "policy_revision": "",
        "layout": "2",
        "audit_seq": "",
        "audit_head": "",
        "cursor:normal": "",
    }
    return {**fields, **changed}


def full_commit(store, **changed):
    """A commit with every kind of write."""
    commit = Commit(store.keys, 0, expected(**changed), LEASE)
    commit.add_audit(b'{"seq":1}\n{"seq":2}', 2, "head-2")
    commit.move_cursor("normal", "5-1")
    commit.deliver("bob", "normal", FRAME, 3)
    commit.answer("alice", "i1", FRAME)
    commit.remember_session("alice", "s1", "normal", 7, b"receipt", 7)
    commit.remember_id(1, "alice id", b"receipt", 60_000)
    commit.set_instance("bob", "i2", b"status", 99)
    commit.add_dead_letter({"message_id": "m", "body": b"sealed"})
    commit.add_later("m:2", 123, b"later")
    return commit


async def everything(store):
    """All keys of the namespace with their content, without the meta's lease."""
    call = store.connection.call
    found = {}
    nodes = (await store.connection.run_everywhere("KEYS", f"{store.namespace}:*")).values()
    for key in sorted(key for keys in nodes for key in keys):
        kind = await call("TYPE", key)
        match kind:
            case b"hash":
                reply = await call("HGETALL", key)
                fields = dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply
                fields.pop(b"lease", None)
                found[key] = fields
            case b"stream":
                found[key] = [fields for _, fields in await call("XRANGE", key, "-", "+")]
            case b"zset":
                found[key] = await call("ZRANGE", key, 0, -1)
            case _:
                found[key] = await call("GET", key)
    return found


async def test_everything_of_a_batch_is_there_after_it(store, partition):
    """Audit, cursor, delivery, answers, markers, presence, dead letter and later."""
    reply = await partition.commit(full_commit(store))

    keys = store.keys
    meta = await partition.read_meta("mine")
    assert reply.result is CommitResult.DONE
    assert (meta.audit_seq, meta.audit_head, meta.cursors["normal"]) == ("2", "head-2", "5-1")
    written = {key.decode() for key in await everything(store)}
    assert written == {
        keys.meta(0), keys.audit(0), keys.inbox(0, "bob", "normal"), keys.work(0, "bob"),
        keys.replies(0, "alice", "i1"), keys.session(0, "alice", "s1"), keys.seen(0, 1), keys.agent(0, "bob"),
        keys.changed_agents(0),
        keys.dead(0), keys.later(0), keys.later_bodies(0),
    }  # fmt: skip
    assert (await store.agent("bob").backlog())["normal"] == 3 or store.agent("bob").partition != 0


@pytest.mark.parametrize(
    ("field", "result"),
    [
        ("nonce", CommitResult.LOST),
        ("epoch", CommitResult.LOST),
        ("layout", CommitResult.LOST),
        ("audit_seq", CommitResult.LOST),
        ("audit_head", CommitResult.LOST),
        ("cursor:normal", CommitResult.LOST),
        ("policy_revision", CommitResult.STALE_POLICY),
    ],
)
async def test_nothing_is_written_when_a_field_is_not_what_the_owner_knows(store, partition, field, result):
    """Another owner, head, cursor, layout or policy: the whole batch is refused."""
    before = await everything(store)

    reply = await partition.commit(full_commit(store, **{field: "other"}))

    assert reply.result is result
    assert await everything(store) == before


async def test_the_same_commit_twice_is_written_once(store, partition):
    """A commit whose answer was lost can be sent again without harm."""
    commit = full_commit(store)
    await partition.commit(commit)
    before = await everything(store)

    again = await partition.commit(commit)

    assert again.result is CommitResult.LOST
    assert await everything(store) == before


@pytest.mark.parametrize(
    "name", ["audit", "inbox", "work", "replies", "session", "seen", "agent", "dead", "later"]
)
async def test_nothing_is_written_when_one_key_has_a_wrong_type(store, partition, name):
    """Scripts are not rolled back, so types are looked at before the first write; the key is named."""
    keys = store.keys
    key = {
        "audit": keys.audit(0), "inbox": keys.inbox(0, "bob", "normal"), "work": keys.work(0, "bob"),
        "replies": keys.replies(0, "alice", "i1"), "session": keys.session(0, "alice", "s1"),
        "seen": keys.seen(0, 1),
        "agent": keys.agent(0, "bob"), "dead": keys.dead(0), "later": keys.later(0),
    }[name]  # fmt: skip
    await store.connection.call("SET", key, "something else")
    before = await everything(store)

    reply = await partition.commit(full_commit(store))

    assert (reply.result, reply.key) == (CommitResult.BLOCKED, key)
    assert await everything(store) == before


async def test_nothing_is_written_when_the_meta_is_gone(store, partition):
    """Whoever deletes the meta hash does not get a partition without an owner written."""
    await store.connection.call("DEL", store.keys.meta(0))

    reply = await partition.commit(full_commit(store))

    assert reply.result is CommitResult.LOST
    assert await everything(store) == {}


@pytest.mark.parametrize("name", ["inbox", "dead"])
async def test_nothing_is_written_when_a_stream_takes_no_more_entries(store, partition, name):
    """A stream whose last id was pushed to the end of time is found before the first write."""
    keys = store.keys
    key = {"inbox": keys.inbox(0, "bob", "normal"), "dead": keys.dead(0)}[name]
    largest = 2**64 - 1
    await store.connection.call("XADD", key, f"{largest}-{largest}", "f", "v")
    before = await everything(store)

    reply = await partition.commit(full_commit(store))

    assert (reply.result, reply.key) == (CommitResult.BLOCKED, key)
    assert await everything(store) == before


async def test_an_audit_stream_with_a_foreign_record_takes_nothing(store, partition):
    """A record that somebody put behind the head blocks the batch instead of standing in the chain."""
    await store.connection.call("XADD", store.keys.audit(0), "9-0", "r", b"forged")
    before = await everything(store)

    reply = await partition.commit(full_commit(store))

    assert (reply.result, reply.key) == (CommitResult.BLOCKED, store.keys.audit(0))
    assert await everything(store) == before


async def test_a_moved_cursor_drops_what_lies_before_it(store, partition):
    """The ingress keeps only what is not decided yet."""
    ingress = store.keys.ingress(0, "normal")
    for number in (1, 2, 3):
        await store.connection.call("XADD", ingress, f"{number}-1", "h", "x", "b", "y")
    commit = Commit(store.keys, 0, expected(), LEASE)
    commit.move_cursor("normal", "2-1")

    await partition.commit(commit)

    assert [
        item.entry for item in await partition.read_ingress({"high": "", "normal": "2-1", "low": ""}, COUNTS)
    ] == ["3-1"]
    assert await store.connection.call("XLEN", ingress) == 1


async def test_a_commit_renews_the_lease(store, partition):
    """A busy owner needs no other sign of life."""
    await partition.renew("mine", 1)
    await partition.commit(full_commit(store))

    held = await partition.acquire("gw-b", "other", LEASE, "2")

    assert held.remaining_ms > LEASE / 2


async def test_frames_are_read_after_the_cursors_high_lane_first(store, partition):
    """What a cursor has passed is not read again."""
    agent = store.agent("alice")
    for lane in ("low", "normal", "high"):
        await agent.add_frames([(0, lane, Frame(lane.encode(), b"1"))])
    await agent.add_frames([(0, "high", Frame(b"high", b"2")), (1, "high", Frame(b"other", b"3"))])

    first = await partition.read_ingress({"high": "", "normal": "", "low": ""}, COUNTS)
    cursors = {item.lane: item.entry for item in first}
    second = await partition.read_ingress(cursors, COUNTS)

    assert [(item.lane, item.frame.body) for item in first] == [
        ("high", b"1"), ("high", b"2"), ("normal", b"1"), ("low", b"1"),
    ]  # fmt: skip
    assert second == []


async def test_answers_to_another_partition_arrive_with_an_expiry(store, partition):
    """Receipts for senders elsewhere go after the commit, into a stream that ends by itself."""
    await partition.put_answer(1, "alice", "i1", FRAME)

    key = store.keys.replies(1, "alice", "i1")
    assert await store.connection.call("XLEN", key) == 1
    assert 0 < await store.connection.call("PTTL", key) <= 3_600_000
