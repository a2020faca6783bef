"""Frames: replayed, lost, forged, put where they do not belong; and replies of those who were not asked."""

import asyncio
import contextlib

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import Forbidden, GatewayDown, RequestTimedOut
from mas_core.model.frame import Frame, Place
from mas_core.model.message import Envelope, Flag
from mas_core.model.registration import Registration
from mas_core.security.seals import read_header
from mas_core.security.tokens import agent_key, derive_keys, new_token


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
        await self._add(frames)


async def put(system, frame, *, lane="normal", partition=0):
    """Add a frame to the ingress as anybody with the server's password could."""
    key = system.store.keys.ingress(partition, lane)
    await system.store.connection.call("XADD", key, "*", "h", frame.header, "b", frame.body)


async def raw(client, target, **fields):
    """Send an envelope with any content; its receipt."""
    fields.setdefault("id", "01J0000000000000000000RAW1")
    fields.setdefault("type", "x")
    fields.setdefault("data", b"{}")
    fields.setdefault("sent_at", client.now_ms())
    return await client._outbox.submit(Envelope(target=target, **fields))


async def test_a_frame_played_again_is_delivered_once(system):
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


async def test_a_frame_played_to_another_stream_is_rejected_and_recorded(system):
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


async def test_a_frame_played_again_after_the_gateway_restarted_is_delivered_once(system):
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


async def test_a_delivery_without_the_gateways_seal_is_dropped(system):
    """Who has the server's password but no key cannot give an agent anything to do (S3)."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)
    frame = tap.frames[0][2]
    header = msgspec.structs.replace(read_header(frame), place=Place.INBOX, agent="bob", instance="")
    inbox = system.store.keys.inbox(0, "bob", "normal")
    for forged in (
        frame,
        Frame(msgspec.msgpack.encode(header), frame.body),
        Frame(b"junk", b"junk"),
        Frame(b"", b""),
    ):
        await system.store.connection.call("XADD", inbox, "*", "h", forged.header, "b", forged.body)

    await alice.send("bob", "x", {"n": 2})
    await until(lambda: 2 in bob.numbers)

    assert bob.numbers == [1, 2]


async def test_a_delivery_of_another_agent_is_dropped(system):
    """A real frame from the gateway, copied into an inbox where it does not belong."""
    await system.allow(("alice", "mallory"))
    alice = await system.client("alice")
    await alice.send("mallory", "x", {"n": 66})
    keys, call = system.store.keys, system.store.connection.call
    ((_, fields),) = await call("XRANGE", keys.inbox(0, "mallory", "normal"), "-", "+")
    flat = fields if isinstance(fields, list) else [part for item in fields.items() for part in item]
    for lane in ("normal", "high"):
        await call("XADD", keys.inbox(0, "bob", lane), "*", *flat)

    bob = await system.run("bob")
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert bob.numbers == [1]


async def test_a_registration_that_the_gateway_did_not_sign_does_not_exist(system):
    """Neither a new one nor a changed one (bad MAC): ignored, the old agents go on."""
    token = new_token(system.keys.public_key)
    key = agent_key(derive_keys(token, "mallory"), created=1)
    forged = msgspec.json.encode(Registration("mallory", (key,)))
    await system.store.records.put_registration("mallory", forged, b"\x00" * 32)
    await system.store.records.raise_revision()
    bob = await system.run("bob")
    alice = await system.client("alice")
    system.tokens["mallory"] = token

    mallory = await system.client("mallory")
    with pytest.raises(GatewayDown):
        await mallory.send("bob", "x", {"n": 66}, timeout=0.2)
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert bob.numbers == [1]
    (record,) = await _at_least(system, 1, kind="frame")
    assert record.details["claimed_sender"] == "mallory"


async def test_a_registration_of_one_agent_does_not_count_for_another(system):
    """The MAC covers whose it is."""
    fields = (await system.store.records.agents(["mallory"]))[0]
    await system.store.records.put_registration("alice", fields["record"], fields["mac"])
    await system.store.records.raise_revision()

    assert [entry.agent_id for entry in await system.system.registry.entries()] == ["bob", "mallory"]


async def test_a_policy_that_the_gateway_did_not_sign_is_ignored(system):
    """The last good one stays in force; after a restart nothing is allowed (S12)."""
    alice = await system.client("alice")
    fields = await system.store.records.policy()
    revision = int(fields["revision"])
    forged = fields["document"].replace(b'"sender":"alice","target":"bob"', b'"sender":"*","target":"*"')
    assert forged != fields["document"]
    await system.store.records.put_policy(revision, revision + 1, forged, fields["mac"])
    await system.store.records.raise_revision()

    await alice.send("bob", "x", {})
    with pytest.raises(Forbidden):
        await alice.send("mallory", "x", {})
    await system.gateways[0].stop()
    await system.start_gateway()
    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {})


async def test_garbage_among_the_gateways_statuses_stops_no_gateway(system):
    """It goes on beating and balancing."""
    await system.store.connection.call("HSET", system.store.keys.gateways(), "ghost", b"\xff not json")
    first = (await system.store.records.gateways())[system.gateways[0].gateway_id]

    async def has_beaten():
        return (await system.store.records.gateways())[system.gateways[0].gateway_id] != first

    await until(has_beaten, seconds=3)
    assert system.gateways[0].is_running


async def captured_request(system):
    """A request of alice that bob holds unanswered: the message, and the waiting call."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    asking = asyncio.create_task(alice.request("bob", "ask", {}, timeout=3))
    await until(lambda: bob.messages)
    return bob, alice, bob.messages[0], asking


async def test_nobody_else_can_answer_a_request(system):
    """Not with the stolen permit, not without one, not with one for another correlation (S11)."""
    bob, _, message, asking = await captured_request(system)
    mallory = await system.client("mallory")
    await system.allow(("mallory", "alice"))

    async def answer(client, **fields):
        values = {
            "type": "ask.reply", "data": b'{"by":"mallory"}', "flags": Flag.IS_REPLY,
            "correlation": message.message_id, "capsule": message.capsule, **fields,
        }  # fmt: skip
        return await raw(client, "alice", **values)

    stolen = await answer(mallory, id="r1")
    bare = await answer(mallory, id="r2", capsule=b"")
    changed = await answer(mallory, id="r3", capsule=message.capsule[:-1] + b"\x00")
    other = await answer(bob._client, id="r4", correlation="01J00000000000000000000000")
    await message.reply("ask.reply", {"by": "bob"})

    assert (await asking).data == {"by": "bob"}
    assert [item.decision for item in (stolen, other)] == ["denied"] * 2
    assert not any(item.is_delivered for item in (bare, changed))
    assert stolen.reason == "Authorization denied: only bob may answer this request"
    assert len(await system.audit(target="alice", type="ask.reply")) == 5


async def test_a_request_is_answered_once(system):
    """A second final reply is refused as a repetition, whatever its id."""
    bob, _, message, asking = await captured_request(system)
    await message.reply("ask.reply", {"n": 1})

    again = await raw(
        bob._client, "alice", id="another", type="ask.reply", data=b'{"n":2}',
        flags=Flag.IS_REPLY, correlation=message.message_id, capsule=message.capsule,
    )  # fmt: skip

    assert (await asking).data == {"n": 1}
    assert again.decision == "replayed"


async def test_a_reply_that_comes_too_late_is_refused(system):
    """The permit ends with the request."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    with pytest.raises(RequestTimedOut):
        await alice.request("bob", "ask", {}, timeout=0.2)
    await until(lambda: bob.messages)

    receipt = await raw(
        bob._client, "alice", flags=Flag.IS_REPLY, correlation=bob.messages[0].message_id,
        capsule=bob.messages[0].capsule,
    )  # fmt: skip

    assert receipt.decision == "expired"


async def test_partial_replies_are_let_through_and_not_counted_as_the_answer(system):
    """The final one may follow."""
    _, _, message, asking = await captured_request(system)
    for part in range(3):
        await message.reply("ask.part", {"part": part}, final=False)
    await message.reply("ask.reply", {"whole": True})

    assert (await asking).data == {"whole": True}


async def test_handing_back_what_one_does_not_hold_harms_nobody(system):
    """Places that are not there, of impossible form, or in the frames of others."""
    mallory = await system.client("mallory")
    alice = await system.client("alice")
    await alice.send("bob", "x", {"n": 1})
    ((entry, _),) = await system.store.connection.call(
        "XRANGE", system.store.keys.inbox(0, "bob", "normal"), "-", "+"
    )

    async def hand_back(**fields):
        values = {
            "lane": "normal",
            "entry": entry.decode(),
            "position": 0,
            "code": "x",
            "reason": "",
            **fields,
        }
        return (await raw(mallory, "gateway", type="mas.nack", data=msgspec.json.encode(values))).decision

    assert await hand_back() == "allowed"
    assert await hand_back(entry="0-1") == "allowed"
    assert await hand_back(entry="* ; DEL") == "allowed"
    assert await hand_back(position=-1) == "invalid"
    assert await hand_back(lane="other") == "invalid"
    assert await hand_back(total=10**12) == "invalid"
    bob = await system.run("bob")
    await until(lambda: bob.numbers == [1])
    assert await system.audit(kind="delivery.retry") == []


@pytest.mark.parametrize("message_type", ["mas.attach", "mas.discover", "mas.nack", "mas.beat"])
@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"x":1}', b'{"capabilities":[1]}', b"\xff"])
async def test_control_messages_that_make_no_sense_are_refused(system, message_type, data):
    """And nothing of them is kept."""
    mallory = await system.client("mallory")

    receipt = await raw(mallory, "gateway", type=message_type, data=data)

    assert receipt.decision == "invalid"
    assert await mallory.discover() == []


async def test_other_messages_to_the_gateway_are_refused(system):
    """It is no agent."""
    alice = await system.client("alice")

    assert (await raw(alice, "gateway", type="hello")).decision == "invalid"


async def test_a_reply_in_an_old_session_is_not_repeated(system):
    """A request's id that was answered stays answered over a restart of the gateway."""
    bob, _, message, asking = await captured_request(system)
    await message.reply("ask.reply", {"n": 1})
    await asking
    await system.gateways[0].stop()
    await system.start_gateway()

    again = await raw(
        bob._client, "alice", id="another", type="ask.reply", flags=Flag.IS_REPLY,
        correlation=message.message_id, capsule=message.capsule,
    )  # fmt: skip

    assert again.decision == "replayed"
