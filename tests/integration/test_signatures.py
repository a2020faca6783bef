"""Signatures of messages: what the gateway refuses, and what a receiver can prove without it."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import MessageExpired, SignatureInvalid
from mas_core.gateway import judge
from mas_core.model.message import Envelope, Flag
from mas_core.model.policy import Features
from mas_core.model.signature import payload_digest
from mas_core.security.signing import sign
from mas_core.security.tokens import derive_keys

SIGNING = Features(message_signing=True)


@pytest.fixture
async def system(any_url):
    """alice may talk to bob and carol, and everybody has to sign."""
    pairs = [("alice", "bob"), ("alice", "carol"), ("bob", "carol")]
    async with live_system(any_url, agents=["alice", "bob", "carol"], allow=pairs) as opened:
        await opened.change_policy(features=SIGNING)
        yield opened


def keys_of(system, agent_id):
    return derive_keys(system.tokens[agent_id], agent_id)


def signed(system, client, sender="alice", **fields):
    """An envelope with a right signature of `sender`."""
    values = {
        "id": "01J0000000000000000000SIG1", "target": "bob", "type": "x", "data": b'{"n":1}',
        "sent_at": client.now_ms(), "flags": Flag.SIGNED, "headers": {"trace": "a"}, **fields,
    }  # fmt: skip
    envelope = Envelope(**values)
    envelope.signature = sign(keys_of(system, sender), system.store.namespace, envelope)
    return envelope


def changed(signature, **fields):
    return msgspec.structs.replace(signature, **fields)


def flipped(data):
    return bytes([data[0] ^ 1]) + data[1:]


def anothers(system, envelope):
    """bob's signature of alice's message, said to be under alice's key."""
    foreign = sign(keys_of(system, "bob"), system.store.namespace, envelope)
    return changed(foreign, key_id=envelope.signature.key_id)


FORGERIES = {
    "flipped signature": lambda _, e: {"signature": changed(e.signature, value=flipped(e.signature.value))},
    "empty signature": lambda _, e: {"signature": changed(e.signature, value=b"")},
    "flipped salt": lambda _, e: {"signature": changed(e.signature, salt=flipped(e.signature.salt))},
    "no salt": lambda _, e: {"signature": changed(e.signature, salt=b"")},
    "stripped": lambda _, e: {"signature": None},
    "stripped with its flag": lambda _, e: {"signature": None, "flags": 0},
    "flag stripped": lambda _, e: {"flags": 0},
    "signed without the flag that makes its id count once": lambda s, e: {
        "flags": 0,
        "signature": sign(keys_of(s, "alice"), s.store.namespace, msgspec.structs.replace(e, flags=0)),
    },
    "algorithm none": lambda _, e: {"signature": changed(e.signature, algorithm="none", value=b"")},
    "algorithm downgraded": lambda _, e: {"signature": changed(e.signature, algorithm="hs256")},
    "algorithm in capitals": lambda _, e: {"signature": changed(e.signature, algorithm="Ed25519")},
    "key of another agent": lambda s, e: {"signature": anothers(s, e)},
    "key id of another agent": lambda s, e: {"signature": sign(keys_of(s, "bob"), s.store.namespace, e)},
    "another namespace": lambda s, e: {"signature": sign(keys_of(s, "alice"), "elsewhere", e)},
    "payload": lambda _, e: {"data": b'{"n":2}'},
    "payload written otherwise": lambda _, e: {"data": b'{"n": 1}'},
    "target": lambda _, e: {"target": "carol"},
    "type": lambda _, e: {"type": "y"},
    "id": lambda _, e: {"id": "01J0000000000000000000SIG2"},
    "sent_at": lambda _, e: {"sent_at": e.sent_at + 1},
    "ttl": lambda _, e: {"ttl_ms": e.ttl_ms + 1},
    "priority": lambda _, e: {"priority": 10},
    "flags": lambda _, e: {"flags": e.flags | Flag.EXPECTS_REPLY},
    "headers": lambda _, e: {"headers": {"trace": "b"}},
    "headers stripped": lambda _, e: {"headers": None},
    "a header more": lambda _, e: {"headers": {"trace": "a", "more": ""}},
    "correlation": lambda _, e: {"correlation": "01J0000000000000000000SIG3"},
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_s10_what_does_not_fit_its_signature_is_refused(system, forgery):
    """Whatever differs from what was signed: refused before anything looks inside, and nothing is delivered."""
    bob, carol = await system.run("bob"), await system.run("carol")
    alice = await system.client("alice")
    data = b'{"n":1}' if forgery.startswith("payload") else b'{"card":"4111 1111 1111 1111"}'
    envelope = signed(system, alice, data=data)

    forged = msgspec.structs.replace(envelope, **FORGERIES[forgery](system, envelope))
    receipt = await alice._outbox.submit(forged)

    assert receipt.decision == "unauthenticated"
    assert receipt.rule in ("signature_invalid", "signature_required")
    (record,) = await system.audit(decision="unauthenticated")
    assert (record.sender, record.rule, record.findings) == ("alice", receipt.rule, ())
    assert bob.messages == carol.messages == []


async def test_a_right_signature_is_taken_although_a_wrong_one_came_under_its_id(system):
    """A forgery decides nothing about the message in whose name it came."""
    bob, alice = await system.run("bob"), await system.client("alice")
    envelope = signed(system, alice)

    forged = await alice._outbox.submit(msgspec.structs.replace(envelope, data=b'{"n":2}'))
    right = await alice._outbox.submit(envelope)
    await until(lambda: bob.messages)

    assert [forged.decision, right.decision] == ["unauthenticated", "allowed"]
    assert bob.numbers == [1]


async def test_agents_sign_when_the_gateway_asks_for_it(system):
    """Senders find out by themselves; receivers get what they can verify with the public key alone."""
    bob, alice = await system.run("bob"), await system.run("alice")

    await alice.send("bob", "x", {"n": 1}, headers={"trace": "t"})
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: len(bob.messages) == 2)

    public_key = keys_of(system, "alice").signing_key.public_key().public_bytes_raw()
    for message in bob.messages:
        found = message.verify(public_key.hex())
        assert found.covers_payload
        assert (found.statement.sender, found.statement.target) == ("alice", "bob")
        assert found.statement.message_id == message.message_id
        assert found.statement.payload == payload_digest(found.salt, b'{"n":%d}' % message.data["n"])
        with pytest.raises(SignatureInvalid):
            message.verify(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert len(await system.audit(rule="signature_required")) == 1


class Answering(Recorder):
    async def on_message(self, message):
        await super().on_message(message)
        return {"n": 2}


async def test_replies_are_signed_and_verified_too(system):
    """The asker can prove who answered what."""
    await system.run("bob", Answering)
    alice = await system.run("alice")

    reply = await alice.request("bob", "ask", {})

    # The asker was told by the gateway, the replier by what it got.
    assert [record.sender for record in await system.audit(rule="signature_required")] == ["alice"]
    found = reply.verify(keys_of(system, "bob").signing_key.public_key().public_bytes_raw())
    assert (found.statement.sender, found.statement.correlation) == ("bob", reply.meta.correlation_id)


async def test_without_the_feature_nothing_is_signed(any_url):
    """Neither the message nor its record carries anything."""
    async with live_system(any_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob, alice = await system.run("bob"), await system.run("alice")
        await alice.send("bob", "x", {"n": 1})
        await until(lambda: bob.messages)

        assert bob.messages[0].signed is None
        with pytest.raises(SignatureInvalid, match="no signature"):
            bob.messages[0].verify(b"\x00" * 32)
        assert [record.details for record in await system.audit(kind="message")] == [{}]


async def test_a_redacted_message_keeps_the_signature_of_what_was_sent(system):
    """The gateway says what it took out; the signature still proves the original, and says that it is of it."""
    bob, alice = await system.run("bob"), await system.run("alice")
    await system.change_policy(dlp_actions={"email": "redact"})

    receipt = await alice.send("bob", "x", {"to": "ann@example.org"})
    await until(lambda: bob.messages)

    message = bob.messages[0]
    found = message.verify(keys_of(system, "alice").signing_key.public_key().public_bytes_raw())
    assert receipt.decision == "redacted"
    assert "ann@example.org" not in str(message.data)
    assert not found.covers_payload
    assert "email" in found.change
    assert found.statement.payload == payload_digest(found.salt, b'{"to":"ann@example.org"}')


async def test_a_signature_counts_for_a_while_by_the_servers_clock(system):
    """Older than the window, or dated ahead of it: refused."""
    await system.change_policy(signature_max_age_s=60.0)
    await system.run("bob")
    alice = await system.client("alice")

    old = await alice._outbox.submit(signed(system, alice, sent_at=alice.now_ms() - 61_000))
    ahead = await alice._outbox.submit(signed(system, alice, sent_at=alice.now_ms() + 120_000, id="ahead"))
    fresh = await alice._outbox.submit(signed(system, alice, sent_at=alice.now_ms() - 50_000, id="fresh"))

    assert [item.decision for item in (old, ahead, fresh)] == ["expired", "unauthenticated", "allowed"]


async def test_an_agent_can_refuse_what_is_not_signed(any_url):
    """Whatever the gateway lets through: it ends as a dead letter and reaches no handler."""
    async with live_system(any_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob = await system.run("bob", require_signatures=True)
        alice = await system.run("alice")

        await alice.send("bob", "x", {"n": 1})
        await until(lambda: system.audit(kind="delivery.dead"))
        await system.change_policy(features=SIGNING)
        await alice.send("bob", "x", {"n": 2})
        await until(lambda: bob.messages)

        assert bob.numbers == [2]


async def test_an_agent_trusts_only_the_keys_that_it_pins(system):
    """A key that the gateway gives out in somebody's name does not count against a pin (A7)."""
    from mas_core.security.key_files import fingerprint

    pin = fingerprint(keys_of(system, "alice").signing_key.public_key().public_bytes_raw())
    alice = await system.run("alice")
    bob = await system.run("bob", pins={"alice": [pin.upper()]})
    carol = await system.run("carol", pins={"alice": ["0" * 64]})

    await alice.send("carol", "x", {"n": 1})
    await alice.send("bob", "x", {"n": 2})
    await until(lambda: bob.messages)
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert (bob.numbers, carol.messages) == ([2], [])
    assert dead.target == "carol"


async def test_late_messages_are_refused_to_the_sender(system):
    """The error says that it came too late, and the message is not delivered."""
    await system.change_policy(signature_max_age_s=0.001)
    bob, alice = await system.run("bob"), await system.run("alice")
    clock = alice._client._outbox.clock
    clock.set(clock.now_ms() - 5_000)

    with pytest.raises(MessageExpired):
        await alice.send("bob", "x", {"n": 1})

    assert bob.messages == []


@pytest.fixture
def dishonest(monkeypatch):
    """The gateway changes what passes through it and says nothing."""
    honest = judge.delivery_of

    def changed_on_the_way(transit, keys, **options):
        delivery = honest(transit, keys, **options)
        delivery.data = delivery.data.replace(b'"n":1', b'"n":66')
        return delivery

    monkeypatch.setattr(judge, "delivery_of", changed_on_the_way)


async def test_a_receiver_notices_what_a_gateway_changed(system, dishonest):
    """A changed payload under a kept signature reaches no handler (A7)."""
    bob, alice = await system.run("bob"), await system.run("alice")

    await alice.send("bob", "x", {"n": 1})
    await alice.send("bob", "x", {"n": 2})
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))
    await until(lambda: bob.messages)

    assert dead.reason.startswith("signature_invalid")
    assert bob.numbers == [2]


class One(Recorder):
    async def on_message(self, message):
        return {"n": 1}


async def test_an_asker_notices_what_a_gateway_changed(system, dishonest):
    """The error is the asker's, not a wrong answer."""
    await system.run("bob", One)
    alice = await system.run("alice")

    with pytest.raises(SignatureInvalid):
        await alice.request("bob", "ask", {"n": 2})
