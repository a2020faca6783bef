"""Agents go on after what would have ended one of their tasks, and lose no message by it."""

import asyncio
import math

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import outbox
from mas_core.errors import GatewayDown, InternalError, InvalidPayload, StoreFull, UsageError
from mas_core.model.message import Envelope


@pytest.fixture
async def system():
    """alice may talk to bob and worker."""
    pairs = [("alice", "bob"), ("alice", "worker")]
    async with live_system("memory://", agents=["alice", "bob", "worker"], allow=pairs) as opened:
        yield opened


def fail_first(monkeypatch, owner, name, *errors):
    """Let the first calls of an async method fail, one for each error; gives the list of calls."""
    method, left, calls = getattr(owner, name), list(errors), []

    async def failing(*arguments):
        calls.append(arguments)
        if left:
            raise left.pop(0)
        return await method(*arguments)

    monkeypatch.setattr(owner, name, failing)
    return calls


async def backlog(system, agent_id="worker"):
    return sum((await system.store.agent(agent_id).backlog()).values())


async def settled(system, agent_id="worker"):
    """Wait until the agent has nothing left to do."""

    async def is_empty():
        return await backlog(system, agent_id) == 0

    await until(is_empty)


@pytest.mark.parametrize("error", [StoreFull(), InternalError()])
async def test_settling_goes_on_after_an_error_of_the_server(system, monkeypatch, error):
    """What was handled is settled as soon as the server takes it."""
    worker = await system.run("worker")
    alice = await system.client("alice")
    calls = fail_first(monkeypatch, worker._dispatch._settler._store, "settle", error)

    await alice.send("worker", "x", {"n": 1})
    await settled(system)

    assert len(calls) == 2
    assert worker.numbers == [1]


@pytest.mark.parametrize("headers", [{"n": 5}, {5: "n"}, {"n": "\ud800"}, {"\ud800": "n"}])
async def test_headers_that_no_frame_can_carry_are_refused_to_their_caller(system, headers):
    """Messages sent beside it and after it arrive."""
    bob = await system.run("bob")
    alice = await system.client("alice")

    results = await asyncio.gather(
        alice.send("bob", "x", {"n": 1}),
        alice.send("bob", "x", {"n": 2}, headers=headers),
        alice.send("bob", "x", {"n": 3}),
        return_exceptions=True,
    )
    await alice.send("bob", "x", {"n": 4}, timeout=5)
    await until(lambda: 4 in bob.numbers)

    assert isinstance(results[1], InvalidPayload)
    assert bob.numbers == [1, 3, 4]


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, 1e30, 31 * 24 * 3600])
async def test_times_to_live_that_make_no_sense_are_refused_to_their_caller(system, ttl):
    """As a wrong call, before anything is sent."""
    alice = await system.client("alice")

    with pytest.raises(UsageError, match="30 days"):
        await alice.send("bob", "x", {}, ttl=ttl)
    assert (await alice.send("bob", "x", {}, timeout=5)).is_delivered


async def test_a_ready_made_message_that_cannot_be_packed_is_refused_to_its_caller(system):
    """So it spoils no frame with other messages in it."""
    alice = await system.client("alice")

    with pytest.raises(InvalidPayload):
        await alice.submit(Envelope("id", "bob", "x", b"{}", alice.now_ms(), ttl_ms=2**70))
    assert (await alice.send("bob", "x", {}, timeout=5)).is_delivered


async def test_replies_are_read_on_after_an_error_of_the_server(system, monkeypatch):
    """Whatever error it is."""

    class Answering(Recorder):
        async def on_message(self, message):
            return {"n": message.data["n"]}

    await system.run("worker", Answering)
    alice = await system.client("alice")
    calls = fail_first(monkeypatch, alice._agent_store, "read_replies", StoreFull(), InternalError())

    replies = [await alice.request("worker", "x", {"n": number}, timeout=8) for number in range(3)]

    assert [reply.data["n"] for reply in replies] == [0, 1, 2]
    assert len(calls) > 2


@pytest.fixture
def quick_probes(monkeypatch):
    """Frames without a receipt are asked for within parts of a second, and at most every 0.3 s."""
    monkeypatch.setattr(outbox, "SWEEP_INTERVAL_S", 0.01)
    monkeypatch.setattr(outbox, "RESEND_AFTER_S", 0.05)
    monkeypatch.setattr(outbox, "MAX_RESEND_AFTER_S", 0.3)


async def test_frames_without_receipts_are_added_again_ever_more_seldom(system, quick_probes, monkeypatch):
    """Only one or two of them each time, so that the ingress does not fill up while no gateway runs."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    await system.gateways[0].stop()
    monkeypatch.setattr(outbox, "MAX_FRAME_MESSAGES", 1)
    calls = fail_first(monkeypatch, alice._outbox._store, "add_frames")

    sending = [asyncio.create_task(alice.send("bob", "x", {"n": number})) for number in range(10)]
    await asyncio.sleep(0.8)
    again = calls[1:]
    await system.start_gateway()
    await asyncio.gather(*sending)
    await until(lambda: len(bob.numbers) == 10)

    # After 0.05, 0.15, 0.35 and 0.65 s.
    assert 2 <= len(again) <= 4
    assert all(len(frames) == 2 for (frames,) in again)
    assert bob.numbers == list(range(10))


async def test_frames_that_nobody_waits_for_any_more_are_asked_for_seldom(system, quick_probes, monkeypatch):
    """They are kept, since later frames count only after them."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    await system.gateways[0].stop()
    with pytest.raises(GatewayDown):
        await alice.send("bob", "x", {"n": 1}, timeout=0.01)
    monkeypatch.setattr(outbox, "MAX_RESEND_AFTER_S", 60.0)
    calls = fail_first(monkeypatch, alice._outbox._store, "add_frames")

    await asyncio.sleep(0.4)
    assert calls == []
    await system.start_gateway()
    await alice.send("bob", "x", {"n": 2}, timeout=5)
    await until(lambda: 2 in bob.numbers)
    assert bob.numbers == [1, 2]


async def test_all_frames_that_were_lost_come_soon(system, quick_probes, monkeypatch):
    """The oldest is what the gateway expects; the newest makes it ask for those between them."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    monkeypatch.setattr(outbox, "MAX_FRAME_MESSAGES", 1)
    monkeypatch.setattr(outbox, "RESEND_AFTER_S", 0.5)
    lost = []
    add = alice._outbox._store.add_frames

    async def lose_first(frames):
        if lost:
            return await add(frames)
        lost.extend(frames)
        return None

    monkeypatch.setattr(alice._outbox._store, "add_frames", lose_first)

    async with asyncio.timeout(1.5):
        await asyncio.gather(*(alice.send("bob", "x", {"n": number}) for number in range(10)))
    await until(lambda: len(bob.numbers) == 10)

    assert len(lost) == 10
    assert bob.numbers == list(range(10))


async def test_an_error_of_the_server_fails_only_the_messages_that_it_was_about(system, monkeypatch):
    """Others wait for their receipts; what comes after is sent."""
    await system.run("bob")
    alice = await system.client("alice")
    await system.gateways[0].stop()
    before = asyncio.create_task(alice.send("bob", "x", {}, priority="high"))
    await until(system.store.records.waiting_frames)
    fail_first(monkeypatch, alice._outbox._store, "add_frames", StoreFull())

    with pytest.raises(StoreFull):
        await alice.send("bob", "x", {})
    await system.start_gateway()

    assert (await before).is_delivered
    assert (await alice.send("bob", "x", {}, timeout=5)).is_delivered


async def test_sending_goes_on_after_what_nobody_foresaw(system, monkeypatch):
    """One call failed, the messages in it are sent again."""
    await system.run("bob")
    alice = await system.client("alice")
    fail_first(monkeypatch, alice._outbox._store, "add_frames", ZeroDivisionError())

    assert (await alice.send("bob", "x", {}, timeout=8)).is_delivered
