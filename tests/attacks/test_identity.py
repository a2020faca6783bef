"""Who a message is from (S1): whoever sealed its frame, whatever it says."""

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.base.ids import new_message_id
from mas_core.model.frame import FRAME_VERSION, FrameHeader, Place
from mas_core.model.message import Envelope
from mas_core.model.policy import RateLimit
from mas_core.security.seals import seal_for


@pytest.fixture
async def system(any_url):
    """Everybody may send to bob; alice is a victim, mallory has a token of its own."""
    async with live_system(
        any_url, agents=["alice", "bob", "mallory"], allow=[("alice", "bob"), ("mallory", "bob")]
    ) as opened:
        yield opened


async def claim(client, agent, key_id):
    """Add a frame that says it is from `agent`, sealed under the key of `client`."""
    session = "00000000000000fe"
    link = client._link
    header = FrameHeader(
        FRAME_VERSION, link.namespace, 0, Place.INGRESS, "normal", agent, link.instance, session,
        key_id, link.keys.gateway_key_id, 1, 1, client.now_ms(),
    )  # fmt: skip
    envelope = Envelope(new_message_id(), "bob", "x", b'{"n":66}', client.now_ms())
    frame = seal_for([link.sending_key(session)], header, msgspec.msgpack.encode([envelope]))
    await client._agent_store.add_frames([(0, "normal", frame)])


async def test_s1_a_frame_that_claims_to_be_from_another_is_refused(system):
    """With the victim's key id or with its own: it does not open, and the audit says who it claimed to be."""
    bob = await system.run("bob")
    alice, mallory = await system.client("alice"), await system.client("mallory")

    await claim(mallory, "alice", alice._link.keys.key_id)
    await claim(mallory, "alice", mallory._link.keys.key_id)
    records = await until(lambda: _two(system))

    assert bob.messages == []
    for record in records:
        assert (record.decision, record.sender) == ("unauthenticated", "")
        assert record.details["claimed_sender"] == "alice"


async def _two(system):
    found = await system.audit(kind="frame")
    return found if len(found) == 2 else None


async def test_s1_a_sender_in_the_payload_is_only_a_payload(system):
    """What arrives, what is recorded and whose limit is used says the authenticated sender."""
    await system.change_policy(limits={"mallory": RateLimit(1, 1)})
    bob, mallory = await system.run("bob"), await system.run("mallory")

    await mallory.send("bob", "x", {"sender_id": "alice", "sender": "alice"})
    await until(lambda: bob.messages)
    with pytest.raises(RuntimeError, match="Rate limit exceeded: mallory"):
        await mallory.send("bob", "x", {"sender_id": "alice"})

    assert [message.sender_id for message in bob.messages] == ["mallory"]
    assert {record.sender for record in await system.audit(kind="message")} == {"mallory"}
