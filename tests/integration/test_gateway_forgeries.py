"""What others write into the server: deliveries, registrations, policies that the gateway did not make."""

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import Forbidden, GatewayDown
from mas_core.model.frame import Frame, Place
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
        return await self._add(frames)


async def _at_least(system, count, **wanted):
    found = await system.audit(**wanted)
    return found if len(found) >= count else None


async def test_s3_a_delivery_without_the_gateways_seal_is_dropped(system):
    """Who has the server's password but no key cannot give an agent anything to do; it is logged and recorded."""
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
    found = await until(lambda: _at_least(system, 4, kind="delivery.refused"))

    assert bob.numbers == [1, 2]
    assert {(record.target, record.decision) for record in found} == {("bob", "unauthenticated")}
    assert all(record.reason.startswith("unauthentic_delivery: ") for record in found)
    await until(lambda: _is_empty(system, inbox))


async def _is_empty(system, stream):
    return await system.store.connection.call("XLEN", stream) == 0


@pytest.mark.parametrize("lane", ["normal", "high"])
async def test_s3_a_delivery_that_is_put_into_the_inbox_again_is_dropped(system, lane):
    """A real frame of the gateway, copied within the inbox or into another lane of it, runs no handler again."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    inbox, call = system.store.keys.inbox(0, "bob", "normal"), system.store.connection.call
    bob._dispatch._inbox.hold()
    await alice.send("bob", "x", {"n": 1})
    ((_, fields),) = await call("XRANGE", inbox, "-", "+")
    flat = fields if isinstance(fields, list) else [part for item in fields.items() for part in item]
    bob._dispatch._inbox.resume()
    await until(lambda: bob.messages)
    for _ in range(3):
        await call("XADD", system.store.keys.inbox(0, "bob", lane), "*", *flat)

    found = await until(lambda: _at_least(system, 3, kind="delivery.refused"))
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: 2 in bob.numbers)

    assert bob.numbers == [1, 2]
    wanted = "replayed" if lane == "normal" else "unauthenticated"
    assert {record.decision for record in found} == {wanted}


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
    await system.store.records.put_registrations([("mallory", forged, b"\x00" * 32)])
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
    await system.store.records.put_registrations([("alice", fields["record"], fields["mac"])])
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
    first = (await system.store.gateways.heartbeats())[system.gateways[0].gateway_id]

    async def has_beaten():
        return (await system.store.gateways.heartbeats())[system.gateways[0].gateway_id] != first

    await until(has_beaten, seconds=3)
    assert system.gateways[0].is_running
