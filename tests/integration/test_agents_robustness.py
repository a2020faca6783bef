"""Agents go on after what would have ended one of their tasks, and lose no message by it."""

import asyncio
import math

import msgspec
import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import inbox, outbox, returns, sending_queue
from mas_core.errors import AgentFailed, GatewayDown, InternalError, InvalidPayload, StoreFull, UsageError
from mas_core.model.frame import HEADER_ENCODER, Frame, FrameHeader, Place
from mas_core.model.message import Envelope
from mas_core.ops import agents
from mas_core.store.agents import AgentStore


@pytest.fixture
async def system():
    """alice may talk to bob and worker."""
    pairs = [("alice", "bob"), ("alice", "worker")]
    async with live_system("memory://", agents=["alice", "bob", "worker"], allow=pairs) as opened:
        yield opened


def fail_first(monkeypatch, owner, name, *errors):
    """Let the first calls of an async method fail, one for each error; gives the list of calls."""
    method, left, calls = getattr(owner, name), list(errors), []

    async def failing(*arguments, **options):
        calls.append(arguments)
        if left:
            raise left.pop(0)
        return await method(*arguments, **options)

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
    monkeypatch.setattr(sending_queue, "RESEND_AFTER_S", 0.05)
    monkeypatch.setattr(sending_queue, "MAX_RESEND_AFTER_S", 0.3)


async def test_frames_without_receipts_are_added_again_ever_more_seldom(system, quick_probes, monkeypatch):
    """Only one or two of them each time, so that the ingress does not fill up while no gateway runs."""
    bob = await system.run("bob")
    alice = await system.client("alice")
    await system.gateways[0].stop()
    monkeypatch.setattr(sending_queue, "MAX_FRAME_MESSAGES", 1)
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
    monkeypatch.setattr(sending_queue, "MAX_RESEND_AFTER_S", 60.0)
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
    monkeypatch.setattr(sending_queue, "MAX_FRAME_MESSAGES", 1)
    monkeypatch.setattr(sending_queue, "RESEND_AFTER_S", 0.5)
    lost = []
    add = alice._outbox._store.add_frames

    async def lose_first(frames):
        if lost:
            return await add(frames)
        lost.extend(frames)
        return [None] * len(frames)

    monkeypatch.setattr(alice._outbox._store, "add_frames", lose_first)

    async with asyncio.timeout(1.5):
        await asyncio.gather(*(alice.send("bob", "x", {"n": number}) for number in range(10)))
    await until(lambda: len(bob.numbers) == 10)

    assert len(lost) == 10
    assert bob.numbers == list(range(10))


def refuse_first(add):
    """The server has no room for what it is given first."""
    refused = []

    async def add_frames(frames):
        if refused:
            return await add(frames)
        refused.extend(frames)
        return [StoreFull()] * len(frames)

    return add_frames


async def test_an_error_of_the_server_fails_only_the_messages_that_it_was_about(system, monkeypatch):
    """Others wait for their receipts; what comes after is sent."""
    await system.run("bob")
    alice = await system.client("alice")
    await system.gateways[0].stop()
    before = asyncio.create_task(alice.send("bob", "x", {}, priority="high"))
    await until(system.store.records.waiting_frames)
    monkeypatch.setattr(alice._outbox._store, "add_frames", refuse_first(alice._outbox._store.add_frames))

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


@pytest.fixture
def quick(monkeypatch):
    """Claims that do not take seconds."""
    monkeypatch.setattr(inbox, "CLAIM_INTERVAL_S", 0.05)
    monkeypatch.setattr(returns, "_RETRY_S", 0.01)


class Impatient(Recorder):
    """Waits for something that is cancelled, where the message says so."""

    async def on_message(self, message):
        await super().on_message(message)
        if message.data.get("cancel"):
            raise asyncio.CancelledError


async def test_a_handler_that_ends_cancelled_fails_alone(system, quick):
    """Its message becomes a dead letter; its place is free for the next."""
    worker = await system.run("worker", Impatient, max_in_flight=1)
    alice = await system.client("alice")

    await alice.send("worker", "x", {"n": 0, "cancel": True})
    for number in range(1, 4):
        await alice.send("worker", "x", {"n": number})
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))
    await settled(system)

    assert dead.reason == "handler_failed: CancelledError"
    assert sorted(worker.numbers) == [0, 0, 0, 1, 2, 3]


async def test_a_request_whose_handler_ends_cancelled_is_answered(system):
    """With an error, at once."""
    await system.run("worker", Impatient)
    alice = await system.client("alice")

    with pytest.raises(AgentFailed, match="CancelledError"):
        await alice.request("worker", "x", {"cancel": True}, timeout=5)


async def test_a_claimed_message_whose_handler_ends_cancelled_fails_alone(system, quick):
    """Others that were claimed are handled."""
    alice, started = await system.client("alice"), asyncio.Event()

    class Stuck(Recorder):
        async def on_message(self, message):
            started.set()
            await asyncio.Event().wait()

    first = system.agent("worker", Stuck)
    await first.start()
    await asyncio.gather(
        alice.send("worker", "x", {"n": 0, "cancel": True}), alice.send("worker", "x", {"n": 1})
    )
    await started.wait()
    await first.stop(drain_timeout=0.01)

    worker = await system.run("worker", Impatient)
    await until(lambda: system.audit(kind="delivery.dead"))
    await settled(system)
    assert sorted(worker.numbers) == [0, 0, 0, 1]


async def test_the_reason_why_a_reply_was_refused_reaches_the_asker(system):
    """As an error reply, which is not taken for the refused one."""

    class Careless(Recorder):
        async def on_message(self, message):
            return {"card": "4111 1111 1111 1111"}

    await system.run("worker", Careless)
    alice = await system.client("alice")

    with pytest.raises(AgentFailed) as caught:
        await alice.request("worker", "x", {}, timeout=5)
    assert caught.value.details["agent_code"] == "payload_blocked"
    replies = await system.audit(sender="worker", target="alice")
    assert [record.decision for record in replies] == ["blocked", "allowed"]
    assert replies[0].message_id != replies[1].message_id


async def test_without_a_gateway_a_message_is_neither_settled_nor_lost(system, quick, monkeypatch):
    """Replying and handing back are tried until there is a gateway; then the handler runs again."""

    class Counting(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            return {"n": len(self.messages)}

    worker = await system.run("worker", Counting)
    alice = await system.client("alice")
    down = [GatewayDown()]
    replies = fail_first(monkeypatch, worker._client, "submit", *down)
    handed_back = fail_first(monkeypatch, worker._client, "tell", *down * 3)

    reply = await alice.request("worker", "x", {"n": 7}, timeout=5)
    await settled(system)

    assert reply.data == {"n": 2}
    assert worker.numbers == [7, 7]
    assert (len(replies), len(handed_back)) == (2, 4)


async def test_claimed_messages_are_drained_like_others(system, quick):
    """Stopping waits for their handlers."""
    alice, started, gate = await system.client("alice"), asyncio.Event(), asyncio.Event()
    finished = []

    class Slow(Recorder):
        async def on_message(self, message):
            started.set()
            await gate.wait()
            finished.append(message.data["n"])

    first = system.agent("worker", Slow)
    await first.start()
    await alice.send("worker", "x", {"n": 1})
    await started.wait()
    await first.stop(drain_timeout=0.01)
    started.clear()
    second = system.agent("worker", Slow)
    await second.start()
    await started.wait()
    assert second._dispatch.in_hand == 1

    stopping = asyncio.create_task(second.stop(drain_timeout=5))
    await asyncio.sleep(0.05)
    gate.set()

    assert await stopping
    assert finished == [1]
    assert await backlog(system) == 0


async def test_a_claimed_message_is_started_once_the_server_notes_it(system, quick, monkeypatch):
    """An error while it is marked as started does not leave it lying."""
    alice, started = await system.client("alice"), asyncio.Event()

    class Stuck(Recorder):
        async def on_message(self, message):
            started.set()
            await asyncio.Event().wait()

    first = system.agent("worker", Stuck)
    await first.start()
    await alice.send("worker", "x", {"n": 1})
    await started.wait()
    await first.stop(drain_timeout=0.01)

    monkeypatch.setattr(inbox, "CLAIM_INTERVAL_S", 0.3)
    second = system.agent("worker")
    calls = []
    mark_started = AgentStore.mark_started

    async def failing(self, *arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise StoreFull
        return await mark_started(self, *arguments)

    monkeypatch.setattr(AgentStore, "mark_started", failing)
    await system.stack.enter_async_context(second)
    await settled(system)

    assert len(calls) == 2
    assert second.numbers == [1]


async def test_messages_sealed_for_a_key_that_is_gone_come_again_under_the_new_one(system, quick):
    """The instance with the new token hands them back; nothing stays in the inbox for ever."""
    alice = await system.client("alice")
    await alice.send("worker", "x", {"n": 1})
    issued = await agents.rotate_token(system.system, "worker", show=True)

    worker = await system.run("worker", token=issued.token)
    await until(lambda: worker.numbers == [1])
    await settled(system)

    (retry,) = await system.audit(kind="delivery.retry")
    assert retry.reason.startswith("unopenable: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "alice"},
        {"place": Place.REPLIES},
        {"lane": "high"},
        {"count": 10**9},
        {"agent_key_id": "own"},
    ],
)
async def test_frames_that_do_not_open_and_are_not_for_another_key_are_dropped(system, changes):
    """They are handed to nobody and stay as they are."""
    worker = await system.run("worker")
    link = worker._client.link
    if "agent_key_id" in changes:
        changes = {"agent_key_id": link.keys.key_id}
    header = FrameHeader(
        1, link.namespace, 0, Place.INBOX, "normal", "worker", "", "0" * 16, "another", "gateway", 1, 2, 0
    )  # fmt: skip
    another, forged = header, msgspec.structs.replace(header, **changes)

    def count(made):
        return link.count_for_other_key(Frame(HEADER_ENCODER.encode(made), b"body"), "normal")

    assert count(another) == 2
    assert count(forged) == 0
    assert link.count_for_other_key(Frame(b"\xc1", b""), "normal") == 0


async def test_what_is_settled_while_an_agent_looks_back_is_not_handled_again(system, monkeypatch):
    """After a lost connection the server may say that a message is open which is settled when we hear it."""
    worker = await system.run("worker")
    alice = await system.client("alice")
    held, let_handler_end = asyncio.Event(), asyncio.Event()
    looked_back = asyncio.Event()
    take = worker.on_message

    async def slow(message):
        held.set()
        await let_handler_end.wait()
        return await take(message)

    monkeypatch.setattr(worker, "on_message", slow)
    store = worker._dispatch._inbox._store
    read_pending = store.read_pending

    async def late(consumer):
        frames = await read_pending(consumer)
        let_handler_end.set()
        await settled(system)
        await asyncio.sleep(0.05)
        looked_back.set()
        return frames

    monkeypatch.setattr(store, "read_pending", late)
    fail_first(monkeypatch, store, "read_inbox", GatewayDown("the connection is lost"))
    await alice.send("worker", "x", {"n": 1})
    await held.wait()
    await looked_back.wait()
    await alice.send("worker", "x", {"n": 2})
    await until(lambda: 2 in worker.numbers)
    await settled(system)

    assert worker.numbers == [1, 2]
