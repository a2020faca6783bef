"""Frames: replayed, lost, forged, put where they do not belong; and replies of those who were not asked."""

import asyncio
import contextlib

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import GatewayDown
from mas_core.model.frame import Frame
from mas_core.security.seals import read_header


@pytest.fixture
async def system(server_url):
    """alice and mallory may talk to bob."""
    pairs = [("alice", "bob"), ("mallory", "bob")]
    async with live_system(server_url, agents=["alice", "bob", "mallory"], allow=pairs) as opened:
        yield opened


class Tap:
    """Sees every frame that an agent adds to the ingress."""

    def __init__(self, client):
        self.frames = []
        self._add = client._outbox._store.add_frames
        client._outbox._store.add_frames = self.add_frames

    async def add_frames(self, frames):
        self.frames += frames
        return await self._add(frames)


async def put(system, frame, *, lane="normal", partition=0):
    """Add a frame to the ingress as anybody with the server's password could."""
    key = system.store.keys.ingress(partition, lane)
    await system.store.connection.call("XADD", key, "*", "h", frame.header, "b", frame.body)


async def test_s9_a_frame_played_again_is_delivered_once(system):
    """To the same stream any number of times, with the same receipt (S9)."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    ((_, _, frame),) = tap.frames

    await asyncio.gather(*(put(system, frame) for _ in range(100)))
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: 2 in bob.numbers)

    assert bob.numbers == [1, 2]
    assert len(await system.audit(kind="message")) == 2


async def test_s9_a_frame_played_to_another_stream_is_rejected_and_recorded(system):
    """Its header says where it belongs, and its seal covers the header."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    ((_, _, frame),) = tap.frames

    for lane in ("high", "low"):
        await put(system, frame, lane=lane)
    records = await until(lambda: _at_least(system, 2, kind="frame"))

    assert {record.reason for record in records} == {
        "Authentication failed: the frame belongs to another place"
    }
    assert bob.numbers == [1]


async def _at_least(system, count, **wanted):
    found = await system.audit(**wanted)
    return found if len(found) >= count else None


async def test_s9_a_frame_played_again_after_the_gateway_restarted_is_delivered_once(system):
    """What was accepted is on the server, not in the gateway's memory."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    await system.gateways[0].stop()
    await system.start_gateway()

    await put(system, tap.frames[0][2])
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: 2 in bob.numbers)

    assert bob.numbers == [1, 2]


@pytest.mark.parametrize("field", ["namespace", "agent", "instance", "session", "counter", "count", "time"])
async def test_a_frame_with_any_field_of_its_header_changed_is_rejected(system, field):
    """Recorded as unauthenticated, nothing delivered; the honest sender goes on."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    frame = tap.frames[0][2]
    header = read_header(frame)
    value = {
        "namespace": "other", "agent": "bob", "instance": "0" * 16, "session": "0" * 16,
        "counter": header.counter + 1, "count": 2, "time": header.time + 1,
    }[field]  # fmt: skip
    forged = msgspec.structs.replace(header, **{field: value})

    await put(system, Frame(msgspec.msgpack.encode(forged), frame.body))
    (record,) = await until(lambda: system.audit(kind="frame"))
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: 2 in bob.numbers)

    assert record.decision == "unauthenticated"
    assert bob.numbers == [1, 2]


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"", b""),
        (b"\xff\xfe", b"x"),
        (b"\x90", b""),
        (msgspec.msgpack.encode(["x"] * 14), b""),
        (b"h" * 100_000, b"b"),
    ],
)
async def test_entries_that_are_no_frames_stop_nobody(system, header, body):
    """They are recorded, dropped, and the next frame is judged."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    await put(system, Frame(header, body))
    await system.store.connection.call("XADD", system.store.keys.ingress(0, "high"), "*", "other", "field")

    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert len(await system.audit(kind="frame", decision="unauthenticated")) == 2
    assert await system.audit_holds()


async def test_a_lost_frame_is_noticed_and_sent_again(system):
    """Somebody removed one of three from the ingress: all three arrive, once each and in order."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    await alice.send("bob", "x", {"n": 0})
    await system.gateways[0].stop()
    sending = []
    for number in (1, 2, 3):
        sending.append(asyncio.create_task(alice.send("bob", "x", {"n": number})))
        await until(lambda number=number: _length(system, number))
    key = system.store.keys.ingress(0, "normal")
    first = (await system.store.connection.call("XRANGE", key, "-", "+"))[0][0]
    await system.store.connection.call("XDEL", key, first)

    await system.start_gateway()
    await asyncio.gather(*sending)
    await until(lambda: len(bob.messages) >= 4)

    assert bob.numbers == [0, 1, 2, 3]


async def _length(system, number):
    return await system.store.connection.call("XLEN", system.store.keys.ingress(0, "normal")) == number


async def test_a_sender_whose_session_was_forgotten_starts_a_new_one(system):
    """Nothing is lost and nothing doubled."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    await alice.send("bob", "x", {"n": 1})
    await system.gateways[0].stop()
    for key in await system.store.connection.call("KEYS", f"{system.store.namespace}:*:from:*"):
        await system.store.connection.call("DEL", key)
    await system.start_gateway()

    await asyncio.gather(*(alice.send("bob", "x", {"n": number}) for number in range(2, 12)))
    await until(lambda: len(bob.messages) >= 11)

    assert bob.numbers == list(range(1, 12))


async def test_nobody_takes_over_the_session_of_another(system):
    """Whoever reads a session's name off the ingress cannot make the owner refuse or swallow its frames."""
    bob = await system.run("bob")
    alice, mallory = await system.client("alice"), await system.client("mallory")
    await alice.send("bob", "x", {"n": 1})
    (queue,) = alice._outbox._queues.values()
    await system.gateways[0].stop()
    await system.start_gateway()

    # mallory continues alice's session under its own token.
    stolen = mallory._outbox._new_queue(0, "normal")
    stolen.session, stolen.counter = queue.session, queue.counter
    stolen.seal_key = mallory._link.sending_key(queue.session)
    with contextlib.suppress(GatewayDown):
        await mallory.send("bob", "x", {"n": 66}, timeout=1)
    receipt = await alice.send("bob", "x", {"n": 2}, timeout=5)
    await until(lambda: 2 in bob.numbers)

    assert receipt.is_delivered
    assert [message.data["n"] for message in bob.messages if message.sender_id == "alice"] == [1, 2]


@pytest.mark.parametrize("name", ["a:b", "*", "", "x" * 10_000, "0123456789abcde\n", "{}", "0" * 15 + "\x00"])
@pytest.mark.parametrize("field", ["session", "instance"])
async def test_names_of_sessions_and_instances_that_could_be_parts_of_keys_are_refused(system, field, name):
    """Even from an agent with a token of its own (S26)."""
    alice, mallory = await system.client("alice"), await system.client("mallory")
    queue = mallory._outbox._new_queue(0, "normal")
    if field == "session":
        queue.session = name
        queue.seal_key = mallory._link.sending_key(name)
    else:
        mallory._link.instance = name
    before = set(await system.store.connection.call("KEYS", f"{system.store.namespace}:*"))

    with pytest.raises(GatewayDown):
        await mallory.send("bob", "x", {"n": 66}, timeout=0.2)
    records = await until(lambda: system.audit(kind="frame"))
    await alice.send("bob", "x", {})

    assert records[0].reason == "Authentication failed: the header of the frame has impossible values"
    new = {
        key.decode()
        for key in set(await system.store.connection.call("KEYS", f"{system.store.namespace}:*")) - before
    }
    assert not any("mallory" in key for key in new)
