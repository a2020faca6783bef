"""Frames whose text is not UTF-8, which is another error than all others: nobody is stopped by one."""

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.model.frame import FRAME_VERSION, FrameHeader, Place
from mas_core.model.message import Envelope
from mas_core.security.seals import seal_for


@pytest.fixture
async def system(any_url):
    """alice and mallory may send to bob."""
    async with live_system(
        any_url, agents=["alice", "bob", "mallory"], allow=[("alice", "bob"), ("mallory", "bob")]
    ) as opened:
        yield opened


async def test_a_header_that_is_not_utf8_is_recorded_and_passed_over(system):
    """Anybody who can add to the ingress can write one; no token is needed."""
    bob, alice = await system.run("bob"), await system.run("alice")
    header = msgspec.msgpack.encode([1, "mas", 0, "ingress", "normal", "alice"]).replace(
        b"alice", b"al\xffce"
    )

    for _ in range(3):
        await system.store.connection.call(
            "XADD", system.store.keys.ingress(0, "normal"), "*", "h", header, "b", b"x"
        )
    receipt = await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert receipt.is_delivered
    assert len(await system.audit(kind="frame", decision="unauthenticated")) == 3


async def test_a_message_that_is_not_utf8_spoils_no_neighbour(system):
    """Inside a frame that opens: the one is refused, the others arrive."""
    bob, mallory = await system.run("bob"), await system.client("mallory")
    link, session = mallory._link, "00000000000000fd"
    header = FrameHeader(
        FRAME_VERSION, link.namespace, 0, Place.INGRESS, "normal", "mallory", link.instance, session,
        link.keys.key_id, link.keys.gateway_key_id, 1, 3, mallory.now_ms(),
    )  # fmt: skip
    envelopes = [Envelope(f"m{n}", "bob", "x", b'{"n":%d}' % n, mallory.now_ms()) for n in range(3)]
    body = msgspec.msgpack.encode(envelopes).replace(b"\xa2m1", b"\xa2\xff\xfe")

    frame = seal_for([link.sending_key(session)], header, body)
    await mallory._agent_store.add_frames([(0, "normal", frame)])
    await until(lambda: len(bob.messages) == 2)

    assert sorted(bob.numbers) == [0, 2]
    assert len(await system.audit(decision="invalid")) == 1
