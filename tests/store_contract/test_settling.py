"""What an agent does with delivered frames: read, settle, claim."""

import pytest

from mas_core.model.frame import Frame
from mas_core.store.agents import HANDLED_BEFORE, SETTLED_ELSEWHERE, STATE_CHANGED, Settlement
from mas_core.store.commits import Commit, CommitResult

LEASE = 60_000
COUNTS = {"high": 16, "normal": 8, "low": 2}
ALIVE = 60_000


@pytest.fixture
async def bob(store):
    """An agent with inboxes."""
    agent = store.agent("bob")
    await agent.create_inboxes()
    return agent


@pytest.fixture
async def deliver(store, bob):
    """Delivers a frame of `count` messages to bob by a commit of the owner."""
    partition = store.partition(bob.partition)
    await partition.acquire("gw", "mine", LEASE, "2")

    async def deliver(lane="normal", count=1, body=b"body"):
        commit = Commit(store.keys, bob.partition, {"nonce": "mine"}, LEASE)
        commit.deliver("bob", lane, Frame(b"header", body), count)
        assert (await partition.commit(commit)).result is CommitResult.DONE

    return deliver


@pytest.fixture
async def note(store, bob):
    """Writes what the owner notes of bob's instances."""
    partition = store.partition(bob.partition)

    async def note(instance, *, seen):
        commit = Commit(store.keys, bob.partition, {"nonce": "mine"}, LEASE)
        if seen:
            commit.set_instance("bob", instance, b"status", seen)
        else:
            commit.end_instance("bob", instance)
        assert (await partition.commit(commit)).result is CommitResult.DONE

    return note


async def work(store, bob):
    reply = await store.connection.call("HGETALL", store.keys.work(bob.partition, "bob"))
    return dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply


async def test_making_inboxes_twice_changes_nothing(store, bob, deliver):
    """An instance that starts later finds what waits."""
    await deliver()
    await bob.create_inboxes()

    assert len(await bob.read_inbox("i1", COUNTS, 0)) == 1


async def test_what_waited_before_the_inboxes_were_made_is_read(store):
    """The group starts at the beginning of the stream."""
    agent = store.agent("early")
    await store.connection.call(
        "XADD", store.keys.inbox(agent.partition, "early", "normal"), "*", "h", "header", "b", "body"
    )
    await agent.create_inboxes()

    assert len(await agent.read_inbox("i1", COUNTS, 0)) == 1


async def test_lanes_are_read_by_weight_and_low_is_never_left_out(bob, deliver):
    """One reading takes at most so many frames of each lane, high first."""
    for lane in ("low", "normal", "high"):
        for _ in range(20):
            await deliver(lane)

    read = [frame.lane for frame in await bob.read_inbox("i1", COUNTS, 0)]

    assert read == ["high"] * 16 + ["normal"] * 8 + ["low"] * 2


async def test_two_instances_share_an_inbox(bob, deliver):
    """No frame goes to both."""
    for _ in range(12):
        await deliver()

    first = await bob.read_inbox("i1", COUNTS, 0)
    second = await bob.read_inbox("i2", COUNTS, 0)

    assert (len(first), len(second)) == (8, 4)
    assert not {frame.entry for frame in first} & {frame.entry for frame in second}


async def test_a_waiting_reader_gets_what_comes(bob, deliver):
    """A blocked reading ends with the first frame."""
    import asyncio

    reading = asyncio.create_task(bob.read_inbox("i1", COUNTS, 5_000))
    await deliver("low")

    assert [frame.lane for frame in await asyncio.wait_for(reading, 3)] == ["low"]


async def test_a_frame_leaves_with_its_last_message(store, bob, deliver):
    """Until then it stays, with marks for what is done; each message counts once."""
    await deliver(count=3)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)

    assert await bob.settle("i1", [Settlement("normal", frame.entry, 3, (0, 2))]) == [2]
    (pending,) = await bob.read_pending("i1")
    assert pending.marks == "x.x"
    assert (await bob.backlog())["normal"] == 1

    assert await bob.settle("i1", [Settlement("normal", frame.entry, 3, (0, 1))]) == [1]
    assert await bob.read_pending("i1") == []
    assert (await bob.backlog())["normal"] == 0
    assert await store.connection.call("XLEN", store.keys.inbox(bob.partition, "bob", "normal")) == 0
    assert set(await work(store, bob)) == {b"unsettled:normal", b"handled", b"moved"}


async def test_settling_again_changes_nothing(bob, deliver):
    """The backlog never goes below what is there."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)
    whole = Settlement("normal", frame.entry, 2, (0, 1))

    assert await bob.settle("i1", [whole, whole]) == [2, SETTLED_ELSEWHERE]
    assert await bob.settle("i1", [whole]) == [SETTLED_ELSEWHERE]
    assert await bob.backlog() == {"high": 0, "normal": 0, "low": 0}


async def test_positions_outside_of_the_frame_count_for_nothing(bob, deliver):
    """Only messages that are there can be settled."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)

    assert await bob.settle("i1", [Settlement("normal", frame.entry, 2, (2, 99))]) == [0]
    assert (await bob.backlog())["normal"] == 2


async def test_another_instance_cannot_settle(bob, deliver):
    """Only whoever holds the frame; its state is not written either."""
    await deliver()
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)

    assert await bob.settle("i2", [Settlement("normal", frame.entry, 1, (0,), 0, b'{"n":1}')]) == [
        SETTLED_ELSEWHERE
    ]
    assert await bob.get_state() == (0, b"")
    assert (await bob.backlog())["normal"] == 1


async def test_state_is_written_with_the_settlement(bob, deliver):
    """Both happen or none."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)

    first = await bob.settle("i1", [Settlement("normal", frame.entry, 2, (0,), 0, b'{"n":1}')])
    stale = await bob.settle("i1", [Settlement("normal", frame.entry, 2, (1,), 0, b'{"n":2}')])

    assert (first, stale) == ([1], [STATE_CHANGED])
    assert await bob.get_state() == (1, b'{"n":1}')
    assert (await bob.backlog())["normal"] == 1


async def test_a_message_that_is_settled_does_not_change_the_state_again(bob, deliver):
    """A settlement that comes twice, with a revision that fits by chance, counts once."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)
    await bob.settle("i1", [Settlement("normal", frame.entry, 2, (0,), 0, b'{"n":1}')])

    assert await bob.settle("i1", [Settlement("normal", frame.entry, 2, (0,), 1, b'{"n":2}')]) == [0]
    assert await bob.get_state() == (1, b'{"n":1}')


async def test_states_of_one_call_build_on_each_other(bob, deliver):
    """Settlements are carried out in order."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)

    results = await bob.settle(
        "i1",
        [
            Settlement("normal", frame.entry, 2, (0,), 0, b'{"n":1}'),
            Settlement("normal", frame.entry, 2, (1,), 1, b'{"n":2}'),
        ],
    )

    assert results == [1, 1]
    assert await bob.get_state() == (2, b'{"n":2}')


async def test_the_owner_settles_for_whoever_holds_the_frame(store, bob, deliver):
    """A message that was handed back leaves the inbox with the commit that writes its retry."""
    await deliver(count=1)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)
    commit = Commit(store.keys, bob.partition, {"nonce": "mine"}, LEASE)
    commit.settle("bob", "normal", frame.entry, 1, 0)

    await store.partition(bob.partition).commit(commit)

    assert await bob.read_pending("i1") == []
    assert (await bob.backlog())["normal"] == 0


async def test_settling_for_an_inbox_that_is_gone_tears_no_commit(store, bob, deliver):
    """Somebody deleted the inbox meanwhile: everything else of the batch is written all the same."""
    await deliver(count=1)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)
    await store.connection.call("DEL", store.keys.inbox(bob.partition, "bob", "normal"))
    commit = Commit(store.keys, bob.partition, {"nonce": "mine"}, LEASE)
    commit.add_later("m:2", 1, b"before")
    commit.settle("bob", "normal", frame.entry, 1, 0)
    commit.add_later("m:3", 1, b"after")

    reply = await store.partition(bob.partition).commit(commit)

    assert reply.result is CommitResult.DONE
    assert await store.connection.call("ZCARD", store.keys.later(bob.partition)) == 2


async def test_settling_after_the_inbox_is_gone_says_so(store, bob, deliver):
    """An agent whose inbox was deleted goes on with the rest."""
    await deliver(count=1)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)
    await store.connection.call("DEL", store.keys.inbox(bob.partition, "bob", "normal"))

    assert await bob.settle("i1", [Settlement("normal", frame.entry, 1, (0,))]) == [SETTLED_ELSEWHERE]


async def test_frames_of_a_lapsed_instance_are_claimed_with_their_marks(store, bob, deliver, note):
    """What is settled stays settled; the claimed frame is then settled by its new holder only."""
    await deliver(count=3)
    (frame,) = await bob.read_inbox("dead", COUNTS, 0)
    await bob.settle("dead", [Settlement("normal", frame.entry, 3, (1,))])
    now = await store.connection.time_ms()
    await note("dead", seen=now - ALIVE - 1)

    (claimed,) = await bob.claim("i2", ALIVE, 16, silent_ms=0)

    assert (claimed.lane, claimed.entry, claimed.marks) == ("normal", frame.entry, ".x.")
    assert claimed.frame == Frame(b"header", b"body")
    late, taken = Settlement("normal", frame.entry, 3, (0,)), Settlement("normal", frame.entry, 3, (0, 2))
    assert await bob.settle("dead", [late]) == [SETTLED_ELSEWHERE]
    assert await bob.settle("i2", [taken]) == [2]


async def test_frames_of_living_instances_are_not_claimed(store, bob, deliver, note):
    """A fresh heartbeat protects, however long a handler takes; so do one's own frames."""
    await deliver()
    await deliver()
    now = await store.connection.time_ms()
    await bob.read_inbox("slow", {"high": 1, "normal": 1, "low": 1}, 0)
    await bob.read_inbox("i2", COUNTS, 0)
    await note("slow", seen=now)

    assert await bob.claim("i2", ALIVE, 16) == []


async def test_frames_of_an_instance_that_reads_are_not_claimed_though_its_heartbeat_lapsed(
    store, bob, deliver, note
):
    """Row R8: while no gateway notes heartbeats all of them lapse, and nobody may take what others handle."""
    await deliver()
    await deliver()
    await bob.read_inbox("alive", {"high": 1, "normal": 1, "low": 1}, 0)
    await note("alive", seen=await store.connection.time_ms() - ALIVE - 1)

    assert await bob.claim("i2", ALIVE, 16) == []
    assert len(await bob.claim("i2", ALIVE, 16, silent_ms=0)) == 1


async def test_who_said_goodbye_loses_its_frames_at_once(bob, deliver, note):
    """A stopped instance, or one whose place was taken, is not waited for."""
    await deliver()
    await bob.read_inbox("gone", COUNTS, 0)
    await note("gone", seen=0)

    assert len(await bob.claim("i2", ALIVE, 16)) == 1


async def test_an_instance_never_heard_of_is_given_time(bob, deliver):
    """It may be about to say hello; after the time of a heartbeat it is not waited for."""
    await deliver()
    await bob.read_inbox("silent", COUNTS, 0)

    assert await bob.claim("i2", ALIVE, 16) == []
    assert len(await bob.claim("i2", 0, 16)) == 1


@pytest.mark.parametrize("most", [1, 4])
async def test_at_most_so_many_frames_are_claimed(bob, deliver, note, most):
    """Several survivors share what a dead instance held."""
    for lane in ("high", "normal", "normal", "normal", "normal", "low"):
        await deliver(lane)
    await bob.read_inbox("gone", COUNTS, 0)
    await note("gone", seen=0)

    first = await bob.claim("i2", ALIVE, most)
    second = await bob.claim("i3", ALIVE, 16)

    assert len(first) == most
    assert len(second) == 6 - most
    assert not {(item.lane, item.entry) for item in first} & {(item.lane, item.entry) for item in second}


async def test_frames_behind_many_that_are_in_good_hands_are_claimed_too(store, bob, deliver, note):
    """However much a living instance holds before them."""
    now = await store.connection.time_ms()
    for _ in range(40):
        await deliver()
    for _ in range(5):
        await bob.read_inbox("busy", COUNTS, 0)
    await deliver()
    await bob.read_inbox("gone", COUNTS, 0)
    await note("busy", seen=now)
    await note("gone", seen=0)

    assert len(await bob.claim("i2", ALIVE, 16)) == 1


async def test_starts_of_a_claimed_message_are_counted_apart(bob, deliver):
    """Each message burns only its own attempts, and the count goes with the frame."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)

    counts = [await bob.mark_started("i1", "normal", frame.entry, position) for position in (0, 1, 0, 0, 1)]

    assert counts == [1, 1, 2, 3, 2]
    assert await bob.mark_started("i2", "normal", frame.entry, 0) == SETTLED_ELSEWHERE
    await bob.settle("i1", [Settlement("normal", frame.entry, 2, (0,))])
    assert await bob.mark_started("i1", "normal", frame.entry, 0) == SETTLED_ELSEWHERE
    assert await bob.mark_started("i1", "normal", frame.entry, 1) == 3
    await bob.settle("i1", [Settlement("normal", frame.entry, 2, (1,))])
    assert await bob.mark_started("i1", "normal", frame.entry, 1) == SETTLED_ELSEWHERE


async def test_starts_of_an_instance_that_ends_in_order_are_taken_back(bob, deliver):
    """Its own, of these messages; those of others and of other messages stay."""
    await deliver(count=2)
    (frame,) = await bob.read_inbox("i1", COUNTS, 0)
    for position in (0, 1, 1):
        await bob.mark_started("i1", "normal", frame.entry, position)

    await bob.forget_starts("i2", [("normal", frame.entry, 0), ("normal", frame.entry, 1)])
    await bob.forget_starts("i1", [("normal", frame.entry, 1), ("high", "1-1", 0)])

    counts = [await bob.mark_started("i1", "normal", frame.entry, position) for position in (0, 1)]
    assert counts == [2, 1]


async def test_a_mark_takes_effect_once_whatever_delivery_it_comes_with(store, bob, deliver):
    """The second is settled without its state; once the time of marks is over the name is free again."""
    await deliver(count=2)
    await deliver(count=1)
    first, again = await bob.read_inbox("i1", COUNTS, 0)

    results = await bob.settle(
        "i1",
        [
            Settlement("normal", first.entry, 2, (0,), 0, b'{"n":1}', "alice m1"),
            Settlement("normal", again.entry, 1, (0,), 0, b'{"n":2}', "alice m1"),
            Settlement("normal", first.entry, 2, (1,), mark="carol m1"),
        ],
    )

    assert results == [1, HANDLED_BEFORE, 1]
    assert await bob.get_state() == (1, b'{"n":1}')
    assert (await bob.backlog())["normal"] == 0
    assert await bob.was_handled("alice m1")
    assert not await bob.was_handled("alice m2")
    assert await store.connection.call("PTTL", store.keys.handled(bob.partition, "bob")) > 0


async def test_replies_are_read_on_and_dropped(store, bob):
    """Reading takes none away, dropping takes everything up to an entry."""
    partition = store.partition(bob.partition)
    for number in range(3):
        await partition.put_answer(bob.partition, "bob", "i1", Frame(b"header", str(number).encode()))

    first = await bob.read_replies("i1", "0-0", 10)
    again = await bob.read_replies("i1", "0-0", 10)
    after = await bob.read_replies("i1", first[1][0], 10)
    await bob.trim_replies("i1", first[1][0])

    assert [frame.body for _, frame in first] == [b"0", b"1", b"2"]
    assert again == first
    assert [frame.body for _, frame in after] == [b"2"]
    assert await bob.read_replies("i1", "0-0", 10) == after
    assert await store.connection.call("XLEN", store.keys.replies(bob.partition, "bob", "i1")) == 1


async def test_dropped_replies_are_gone(store, bob):
    """An instance that ends leaves no stream behind."""
    await store.partition(bob.partition).put_answer(bob.partition, "bob", "i1", Frame(b"h", b"b"))

    await bob.drop_replies("i1")

    assert await store.connection.call("EXISTS", store.keys.replies(bob.partition, "bob", "i1")) == 0
