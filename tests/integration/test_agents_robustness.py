"""Agents go on after what would have ended one of their tasks, and lose no message by it."""

import asyncio
import math

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import InternalError, InvalidPayload, StoreFull, UsageError
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
