"""End-to-end encrypted messages between agents, and where the gateway lets them pass."""

import base64
import os

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import AgentFailed, Forbidden, KeyNotFound, PayloadBlocked
from mas_core.model.policy import Features, Route
from mas_core.ops import agents
from mas_core.security.key_files import fingerprint
from mas_core.security.tokens import derive_keys

SECRET = {"card": "4111 1111 1111 1111", "n": 1}


class Echo(Recorder):
    async def on_message(self, message):
        await super().on_message(message)
        return {**message.data, "answered": True}


@pytest.fixture
async def system(any_url):
    """alice may talk to bob and carol; encryption is up to the route."""
    pairs = [("alice", "bob"), ("alice", "carol")]
    async with live_system(any_url, agents=["alice", "bob", "carol"], allow=pairs) as opened:
        yield opened


async def route(system, **fields):
    await system.change_policy(routes=(Route(sender="alice", target="bob", **fields),))


async def test_only_the_target_reads_an_encrypted_message(system):
    """It is delivered unscanned, and its record says so; the handler gets it in clear and knows."""
    await route(system, e2e="allow")
    bob, alice = await system.run("bob"), await system.run("alice")

    receipt = await alice.send("bob", "x", SECRET, encrypt=True)
    await until(lambda: bob.messages)

    (message,) = bob.messages
    assert receipt.decision == "allowed"
    assert (message.data, message.encrypted) == (SECRET, True)
    assert message.encrypted_for == derive_keys(system.tokens["bob"], "bob").key_id
    (record,) = await system.audit(kind="message")
    assert record.details["encryption"] == {
        "suite": "hpke", "keys": [message.encrypted_for], "scanned": False,
    }  # fmt: skip


async def test_the_reply_to_an_encrypted_request_is_encrypted_too(system):
    """Without a route for the way back; the asker reads it."""
    await route(system, e2e="require")
    bob, alice = await system.run("bob", Echo), await system.run("alice")

    reply = await alice.request("bob", "x", SECRET, encrypt=True)

    assert reply.data == {**SECRET, "answered": True}
    assert reply.encrypted
    assert bob.messages[0].encrypted
    records = await system.audit(kind="message", decision="allowed")
    assert [record.details["encryption"]["scanned"] for record in records] == [False, False]


class Careless(Recorder):
    async def on_message(self, message):
        message.encrypted_for = ""
        await message.reply("x.reply", {"clear": True})


async def test_a_clear_reply_to_an_encrypted_request_is_refused(system):
    """What was asked in secret is not answered in public."""
    await route(system, e2e="allow")
    await system.run("bob", Careless)
    alice = await system.run("alice")

    with pytest.raises(TimeoutError):
        await alice.request("bob", "x", SECRET, encrypt=True, timeout=0.5)

    assert await system.audit(decision="denied", rule="e2e_required")


async def test_s18_where_payloads_are_scanned_encryption_is_forbidden(system):
    """The default; the refusal says which rule, and nothing is delivered."""
    bob, alice = await system.run("bob"), await system.run("alice")

    with pytest.raises(Forbidden) as caught:
        await alice.send("bob", "x", SECRET, encrypt=True)

    assert caught.value.details["rule"] == "e2e_forbidden"
    (record,) = await system.audit(kind="message")
    assert (record.decision, record.rule) == ("denied", "e2e_forbidden")
    assert bob.messages == []


async def test_s18_a_route_can_forbid_it_where_nothing_is_scanned(system):
    """Without the scan the default is to allow."""
    await system.change_policy(features=Features(dlp=False))
    bob, alice = await system.run("bob"), await system.run("alice")
    await alice.send("bob", "x", SECRET, encrypt=True)
    await route(system, e2e="forbid")

    with pytest.raises(Forbidden):
        await alice.send("bob", "x", SECRET, encrypt=True)
    await until(lambda: bob.messages)

    assert bob.messages[0].data == SECRET


@pytest.mark.parametrize("note", ["4111 1111 1111 1111", "anything"])
async def test_s18_a_mark_alone_makes_nothing_encrypted(system, note):
    """Clear text beside or inside the shape of an encrypted payload is refused, not let through unscanned."""
    await route(system, e2e="allow")
    bob, alice = await system.run("bob"), await system.client("alice")
    good = {"v": 1, "suite": "hpke", "keys": {"a" * 16: "AAAA"}, "body": "AAAA"}

    for data in ({"mas_e2e": good, "note": note}, {"mas_e2e": {**good, "note": note}}, {"mas_e2e": note}):
        with pytest.raises(Exception, match="the one shape"):
            await alice.send("bob", "x", data)

    assert bob.messages == []


async def test_s18_an_opaque_blob_is_ordinary_content(system):
    """What merely looks encrypted goes by the rules of the scan: next to a telling name it is a secret."""
    bob, alice = await system.run("bob"), await system.client("alice")
    blob = base64.b64encode(os.urandom(32)).decode()

    await alice.send("bob", "x", {"n": 1, "image": base64.b64encode(os.urandom(600)).decode()})
    with pytest.raises(PayloadBlocked):
        await alice.send("bob", "x", {"api_key": blob})
    await until(lambda: bob.messages)

    assert bob.numbers == [1]


async def test_a_route_can_require_encryption(system):
    """Clear payloads are refused; other routes are not touched."""
    await route(system, e2e="require")
    bob, carol = await system.run("bob"), await system.run("carol")
    alice = await system.run("alice")

    with pytest.raises(Forbidden) as caught:
        await alice.send("bob", "x", {"n": 1})
    await alice.send("carol", "x", {"n": 2})
    await alice.send("bob", "x", {"n": 3}, encrypt=True)
    await until(lambda: bob.messages and carol.messages)

    assert caught.value.details["rule"] == "e2e_required"
    assert (bob.numbers, carol.numbers) == ([3], [2])


async def test_a_route_for_replies_can_require_encryption_too(system):
    """Also when what they answer came in clear."""
    await system.change_policy(routes=(Route("bob", "alice", e2e="require"),))
    await system.run("bob", Echo)
    alice = await system.run("alice")

    with pytest.raises(TimeoutError):
        await alice.request("bob", "x", {"n": 1}, timeout=0.5)

    assert await system.audit(decision="denied", rule="e2e_required", sender="bob")


async def test_who_asks_what_cannot_be_opened_is_told(system, tmp_path):
    """The answer says that the other side lacks the key, and is encrypted itself."""
    from mas_core.ops import keys

    await route(system, e2e="require")
    await keys.generate(system.system, "bob", out=tmp_path / "elsewhere.pem")
    await system.run("bob", Echo)
    alice = await system.run("alice")

    with pytest.raises(AgentFailed) as caught:
        await alice.request("bob", "x", SECRET, encrypt=True)

    assert caught.value.details["agent_code"] == "decryption_failed"
    *_, answer = await system.audit(kind="message", sender="bob")
    assert answer.details["encryption"]["scanned"] is False


async def test_headers_are_scanned_although_the_payload_is_not(system):
    """They are not encrypted."""
    await route(system, e2e="allow")
    await system.run("bob")
    alice = await system.run("alice")

    with pytest.raises(PayloadBlocked):
        await alice.send("bob", "x", {}, headers={"note": "4111 1111 1111 1111"}, encrypt=True)


async def test_the_policy_says_which_ciphers_are_let_through(system):
    """A way of encryption that is not listed is refused, whoever sends it."""
    await route(system, e2e="allow")
    await system.run("bob")
    alice = await system.run("alice")
    await alice.send("bob", "x", {}, encrypt=True)
    await system.change_policy(e2e_suites=("rsa-oaep",))

    with pytest.raises(Forbidden) as caught:
        await alice.send("bob", "x", {}, encrypt=True)
    fresh = await system.run("alice")
    with pytest.raises(KeyNotFound):
        await fresh.send("bob", "x", {}, encrypt=True)

    assert caught.value.details["rule"] == "e2e_suite"


async def test_who_pins_a_key_encrypts_for_no_other(system):
    """A key that the gateway gives out in somebody's name is not used (A7)."""
    await route(system, e2e="allow")
    bob = await system.run("bob")
    key = derive_keys(system.tokens["bob"], "bob").encryption_key.public_key().public_bytes_raw()
    right = await system.run("alice", pins={"bob": [fingerprint(key)]})
    wrong = await system.run("alice", pins={"bob": ["0" * 64]})

    await right.send("bob", "x", {"n": 1}, encrypt=True)
    with pytest.raises(KeyNotFound):
        await wrong.send("bob", "x", {"n": 2}, encrypt=True)
    await until(lambda: bob.messages)

    assert bob.numbers == [1]


async def test_encryption_and_signature_go_together(system):
    """The signature is of what travels, so it proves who encrypted."""
    await system.change_policy(
        features=Features(message_signing=True), routes=(Route("alice", "bob", e2e="allow"),)
    )
    bob, alice = await system.run("bob"), await system.run("alice")

    await alice.send("bob", "x", SECRET, encrypt=True)
    await until(lambda: bob.messages)

    key = derive_keys(system.tokens["alice"], "alice").signing_key.public_key().public_bytes_raw()
    assert bob.messages[0].data == SECRET
    assert bob.messages[0].verify(key).covers_payload


@pytest.mark.parametrize("message_id", ["", "m1"])
async def test_who_still_has_an_old_key_encrypts_for_the_new_one(system, message_id):
    """A sender that asked before a rotation without overlap finds out by the refusal, and nothing is lost."""
    await route(system, e2e="allow")
    await system.change_policy(features=Features(message_signing=True))
    alice = await system.run("alice")
    async with system.agent("bob") as old:
        await alice.send("bob", "x", {"n": 1}, encrypt=True)
        await until(lambda: old.messages)
    issued = await agents.rotate_token(system.system, "bob", overlap=0, show=True)
    new = await system.run("bob", token=issued.token)

    await alice.send("bob", "x", {"n": 2}, encrypt=True, message_id=message_id)
    await until(lambda: new.messages)

    assert new.numbers == [2]
    assert new.messages[0].encrypted_for == issued.key_id
    assert len(await system.audit(rule="e2e_key")) == 1


async def test_while_keys_rotate_instances_with_either_token_can_read(system):
    """Within the overlap a message is encrypted for both."""
    await route(system, e2e="allow")
    old = await system.run("bob")
    issued = await agents.rotate_token(system.system, "bob", show=True)
    new = await system.run("bob", token=issued.token)
    alice = await system.run("alice")

    for number in range(20):
        await alice.send("bob", "x", {"n": number}, encrypt=True)
    await until(lambda: len(old.messages) + len(new.messages) == 20)

    assert {*old.numbers, *new.numbers} == {*range(20)}
    assert not await system.audit(kind="delivery.dead")
