"""Time to live, end to end: whatever a message waits in, it is not handled after its time, nor given up before."""

import asyncio

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import inbox
from mas_core.ops import dead_letters


@pytest.fixture
async def system(server_url, monkeypatch):
    """alice may talk to the worker; claims do not take seconds."""
    monkeypatch.setattr(inbox, "CLAIM_INTERVAL_S", 0.05)
    async with live_system(server_url, agents=["alice", "worker"], allow=[("alice", "worker")]) as opened:
        yield opened


class Stuck(Recorder):
    """Never ends the first message."""

    async def on_message(self, message):
        """Keep it, for ever."""
        await super().on_message(message)
        await asyncio.Event().wait()


async def test_what_a_dead_instance_held_too_long_is_not_handled(system):
    """Whoever takes it over hands it back as expired, and it is a dead letter with that code (M5)."""
    alice = await system.client("alice")
    first = system.agent("worker", Stuck, max_in_flight=1)
    await first.start()
    await alice.send("worker", "x", {"n": 0})
    late = await alice.send("worker", "x", {"n": 1}, ttl=0.6)
    await alice.send("worker", "x", {"n": 2})
    await until(lambda: first._dispatch.in_hand >= 2)
    await first.stop(drain_timeout=0.01)
    await asyncio.sleep(0.7)
    worker = await system.run("worker")
    await until(lambda: 2 in worker.numbers)
    (record,) = await until(lambda: system.audit(kind="delivery.dead"))
    letter = await dead_letters.get(system.system, late.message_id)

    assert first.numbers == [0]
    assert sorted(worker.numbers) == [0, 2]
    assert (record.message_id, letter.facts.code) == (late.message_id, "expired")


async def test_r13_a_receiver_whose_clock_is_ahead_makes_nothing_expire(system, monkeypatch):
    """The server's clock decides: what it hands back before its time comes again (R13)."""
    alice = await system.client("alice")
    wrong = await system.run("worker")
    client = wrong._client
    right = client.now_ms
    monkeypatch.setattr(client, "now_ms", lambda: right() + 2 * 3_600_000)
    receipt = await alice.send("worker", "x", {"n": 1}, ttl=60)
    (retry,) = await until(lambda: system.audit(kind="delivery.retry"))
    monkeypatch.undo()
    await until(lambda: wrong.numbers == [1])

    assert retry.message_id == receipt.message_id
    assert retry.reason.startswith("expired")
    assert await system.audit(kind="delivery.dead") == []
