"""Captured frames and messages, played back by whoever could read the server."""

import asyncio

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.gateway import frame_checks
from mas_core.model.message import Envelope, Flag
from mas_core.model.policy import Features
from mas_core.security.seals import read_header
from mas_core.security.signing import sign
from mas_core.security.tokens import derive_keys

PAIRS = [("alice", "bob")]


class Tap:
    """Sees every frame that an agent adds to the ingress."""

    def __init__(self, client):
        self.frames = []
        self._add = client._outbox._store.add_frames
        client._outbox._store.add_frames = self.add_frames

    async def add_frames(self, frames):
        self.frames += frames
        return await self._add(frames)


@pytest.fixture
async def system(server_url):
    """alice may talk to bob, over two partitions, and has to sign."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIRS, partitions=2) as opened:
        await opened.change_policy(features=Features(message_signing=True))
        yield opened


async def sent_once(system):
    """bob, who got one message of alice, and the frame that it came in."""
    bob, alice = await system.run("bob"), await system.client("alice")
    await alice.send("bob", "warm.up", {"n": 0})
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: len(bob.messages) == 2)
    ((partition, lane, frame),) = tap.frames
    return bob, alice, partition, lane, frame


async def play(system, partition, lane, frame, copies=1):
    stream = system.store.keys.ingress(partition, lane)
    call = system.store.connection.call
    await asyncio.gather(
        *(call("XADD", stream, "*", "h", frame.header, "b", frame.body) for _ in range(copies))
    )


async def recorded(system, count, **wanted):
    async def enough():
        found = await system.audit(**wanted)
        return found if len(found) >= count else None

    return await until(enough)


async def nothing_more(system, bob, alice):
    """Whether all that came before was judged, and only what was sent was delivered."""
    await alice.send("bob", "last", {"n": 2})
    await until(lambda: 2 in bob.numbers)
    return bob.numbers == [0, 1, 2]


@pytest.mark.parametrize("copies", [1, 1000])
async def test_s9_copies_of_a_frame_deliver_nothing(system, copies):
    """In the same stream, one or a thousand at once: each is recorded as replayed."""
    bob, alice, partition, lane, frame = await sent_once(system)

    await play(system, partition, lane, frame, copies)
    found = await recorded(system, copies, kind="frame", decision="replayed")

    assert await nothing_more(system, bob, alice)
    assert len(found) == copies
    assert {record.sender for record in found} == {"alice"}


async def test_s9_a_copy_in_another_stream_does_not_open(system):
    """Another lane, another partition, the stream of another system: refused."""
    bob, alice, partition, lane, frame = await sent_once(system)
    other = live_system(system.system.target.url, agents=["alice", "bob"], allow=PAIRS)

    await play(system, partition, "high", frame)
    await play(system, 1 - partition, lane, frame)
    async with other as elsewhere:
        await play(elsewhere, 0, lane, frame)
        await recorded(elsewhere, 1, kind="frame", decision="unauthenticated")
    found = await recorded(system, 2, kind="frame", decision="unauthenticated")

    assert await nothing_more(system, bob, alice)
    assert len(found) == 2


async def test_s9_a_copy_after_a_restart_of_the_gateway_is_known(system):
    """What was judged is remembered by the store, not by a process."""
    bob, alice, partition, lane, frame = await sent_once(system)
    await system.gateways[0].stop()
    await play(system, partition, lane, frame)
    await system.start_gateway()

    await recorded(system, 1, kind="frame", decision="replayed")

    assert await nothing_more(system, bob, alice)


async def test_s9_a_copy_after_the_window_is_expired(system, monkeypatch):
    """By the server's clock, also when nobody remembers the session any more."""
    bob, alice = await system.run("bob"), await system.client("alice")
    tap = Tap(alice)
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)
    await system.gateways[0].stop()
    sessions = set()
    for partition, _, frame in tap.frames:
        sessions.add(system.store.keys.session(partition, "alice", read_header(frame).session))
    await system.store.connection.call("DEL", *sessions)
    monkeypatch.setattr(frame_checks, "REPLAY_WINDOW_MS", 1)
    await system.start_gateway()

    for partition, lane, frame in tap.frames:
        await play(system, partition, lane, frame)
    found = await recorded(system, 2, kind="message", decision="expired")

    assert {record.reason for record in found} == {"the frame is not of the time of the replay window"}
    assert bob.numbers == [1]


async def test_s9_a_signed_message_in_a_frame_of_its_own_is_known_by_its_id(system):
    """Who has the token, or the gateway, can pack a captured message anew: it is delivered once."""
    bob, alice = await system.run("bob"), await system.client("alice")
    envelope = Envelope("m1", "bob", "x", b'{"n":1}', alice.now_ms(), flags=Flag.SIGNED)
    keys = derive_keys(system.tokens["alice"], "alice")
    envelope.signature = sign(keys, system.store.namespace, envelope)

    await alice._outbox.submit(envelope)
    again = await asyncio.gather(*(alice._outbox.submit(envelope) for _ in range(100)))
    await system.gateways[0].stop()
    await system.start_gateway()
    await alice._outbox.submit(envelope)
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: 2 in bob.numbers)

    assert bob.numbers == [1, 2]
    assert {receipt.decision for receipt in again} == {"allowed"}
    assert len(await system.audit(kind="message", decision="replayed", message_id="m1")) == 101
    assert len(await system.audit(kind="message", decision="allowed", message_id="m1")) == 1


async def test_s9_a_signed_message_is_expired_after_its_window(system):
    """A captured message that never arrived cannot be brought in later."""
    await system.change_policy(signature_max_age_s=1.0)
    bob, alice = await system.run("bob"), await system.client("alice")
    envelope = Envelope("m1", "bob", "x", b"{}", alice.now_ms() - 1500, flags=Flag.SIGNED)
    keys = derive_keys(system.tokens["alice"], "alice")
    envelope.signature = sign(keys, system.store.namespace, envelope)

    receipt = await alice._outbox.submit(envelope)

    assert receipt.decision == "expired"
    assert bob.messages == []
