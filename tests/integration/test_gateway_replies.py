"""Who may answer a request, how often and until when; and what agents may tell the gateway itself."""

import asyncio

import msgspec
import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import RequestTimedOut
from mas_core.model.message import Capsule, Envelope, Flag


@pytest.fixture
async def system(server_url):
    """alice and mallory may talk to bob."""
    pairs = [("alice", "bob"), ("mallory", "bob")]
    async with live_system(server_url, agents=["alice", "bob", "mallory"], allow=pairs) as opened:
        yield opened


async def raw(client, target, **fields):
    """Send an envelope with any content; its receipt."""
    fields.setdefault("id", "01J0000000000000000000RAW1")
    fields.setdefault("type", "x")
    fields.setdefault("data", b"{}")
    fields.setdefault("sent_at", client.now_ms())
    return await client._outbox.submit(Envelope(target=target, **fields))


class Holding(Recorder):
    """Keeps requests until its gate opens; whoever tests answers them."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gate = asyncio.Event()

    async def on_message(self, message):
        await super().on_message(message)
        await self.gate.wait()


@pytest.fixture
async def bob(system):
    """Runs until the test ends, and then holds nothing back."""
    agent = await system.run("bob", Holding)
    yield agent
    agent.gate.set()


async def captured_request(system, bob):
    """A request of alice that bob holds unanswered: the message, and the waiting call."""
    alice = await system.run("alice")
    asking = asyncio.create_task(alice.request("bob", "ask", {}, timeout=3))
    await until(lambda: bob.messages)
    return bob.messages[0], asking


async def test_s11_nobody_else_can_answer_a_request(system, bob):
    """Not with the stolen permit, not without one, not with one for another correlation (S11)."""
    message, asking = await captured_request(system, bob)
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


async def test_a_request_is_answered_once(system, bob):
    """A second final reply is refused as a repetition, whatever its id."""
    message, asking = await captured_request(system, bob)
    await message.reply("ask.reply", {"n": 1})

    again = await raw(
        bob._client, "alice", id="another", type="ask.reply", data=b'{"n":2}',
        flags=Flag.IS_REPLY, correlation=message.message_id, capsule=message.capsule,
    )  # fmt: skip

    assert (await asking).data == {"n": 1}
    assert again.decision == "replayed"


async def test_a_reply_that_comes_too_late_is_refused(system, bob):
    """The permit ends with the request."""
    alice = await system.run("alice")
    with pytest.raises(RequestTimedOut):
        await alice.request("bob", "ask", {}, timeout=0.2)
    await until(lambda: bob.messages)
    permit = msgspec.msgpack.decode(bob.messages[0].capsule, type=Capsule)
    await until(lambda: alice._client.now_ms() > permit.expires_at + 50)

    receipt = await raw(
        bob._client, "alice", flags=Flag.IS_REPLY, correlation=bob.messages[0].message_id,
        capsule=bob.messages[0].capsule,
    )  # fmt: skip

    assert receipt.decision == "expired"


async def test_partial_replies_are_let_through_and_not_counted_as_the_answer(system, bob):
    """The final one may follow."""
    message, asking = await captured_request(system, bob)
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


async def test_a_reply_in_an_old_session_is_not_repeated(system, bob):
    """A request's id that was answered stays answered over a restart of the gateway."""
    message, asking = await captured_request(system, bob)
    await message.reply("ask.reply", {"n": 1})
    await asking
    await system.gateways[0].stop()
    await system.start_gateway()

    again = await raw(
        bob._client, "alice", id="another", type="ask.reply", flags=Flag.IS_REPLY,
        correlation=message.message_id, capsule=message.capsule,
    )  # fmt: skip

    assert again.decision == "replayed"
