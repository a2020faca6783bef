"""A full inbox is told to the sender; nothing is dropped, and it heals by itself."""

import asyncio

import pytest
from support.servers import embedded_server
from support.systems import live_system
from support.waiting import until

from mas_core.errors import Backpressure, StoreFull

BOUND = 10


@pytest.fixture
async def system(any_url):
    """alice, carol and dave may talk to bob, whose inbox is small."""
    names = ["alice", "carol", "dave"]
    async with live_system(
        any_url,
        agents=[*names, "bob", "other"],
        allow=[(name, "bob") for name in names] + [("alice", "other")],
        inbox_bound=BOUND,
    ) as opened:
        yield opened


async def unsettled(system, agent_id="bob"):
    return sum((await system.store.agent(agent_id).backlog()).values())


async def test_a_full_inbox_refuses_and_keeps_what_it_has(system):
    """Exactly the bound is taken; the refusal can be tried again and says when (idea: back-pressure, no loss)."""
    alice = await system.run("alice")
    for number in range(BOUND):
        await alice.send("bob", "x", {"n": number})

    with pytest.raises(Backpressure) as caught:
        await alice.send("bob", "x", {"n": 99})

    assert caught.value.retryable
    assert caught.value.details["retry_after"] > 0
    assert await unsettled(system) == BOUND
    assert len(await system.audit(decision="backpressure")) == 1
    bob = await system.run("bob")
    await until(lambda: len(bob.messages) == BOUND)
    assert bob.numbers == list(range(BOUND))


async def test_it_heals_when_the_agent_works(system):
    """The next messages are taken as soon as there is room; the refused id may come again."""
    alice = await system.run("alice")
    await asyncio.gather(*(alice.send("bob", "x", {"n": number}) for number in range(BOUND)))
    with pytest.raises(Backpressure):
        await alice.send("bob", "x", {"n": 50}, message_id="again")
    bob = await system.run("bob")

    async def is_empty():
        return await unsettled(system) == 0

    await until(is_empty)

    async def taken():
        try:
            return await alice.send("bob", "x", {"n": 50}, message_id="again")
        except Backpressure:
            return None

    await until(taken)
    await until(lambda: bob.numbers == [*range(BOUND), 50])


async def test_other_agents_and_lanes_are_not_affected(system):
    """Each inbox and lane has its own bound."""
    alice = await system.run("alice")
    for _ in range(BOUND):
        await alice.send("bob", "x", {})
    with pytest.raises(Backpressure):
        await alice.send("bob", "x", {})

    await alice.send("other", "x", {})
    await alice.send("bob", "x", {}, priority="high")


async def test_a_flood_from_many_never_goes_beyond_the_bound(system):
    """However many batches are under way at once: accepted and refused add up."""
    senders = [await system.run(name) for name in ("alice", "carol", "dave")]

    results = await asyncio.gather(
        *(sender.send("bob", "x", {"n": number}) for number in range(40) for sender in senders),
        return_exceptions=True,
    )
    for sender in senders:
        for _ in range(5):
            results += await asyncio.gather(sender.send("bob", "x", {}), return_exceptions=True)

    taken = [result for result in results if not isinstance(result, BaseException)]
    assert {type(result) for result in results if isinstance(result, BaseException)} == {Backpressure}
    assert len(taken) == BOUND
    assert await unsettled(system) == BOUND


async def test_a_slow_agent_under_a_steady_flood_keeps_its_bound(system):
    """Room that is made is used, and never more than there is."""
    bob = await system.run("bob", max_in_flight=1)
    senders = [await system.run(name) for name in ("alice", "carol", "dave")]
    highest = 0
    done = asyncio.Event()

    async def watch():
        nonlocal highest
        while not done.is_set():
            highest = max(highest, await unsettled(system))

    async def flood(sender):
        taken = 0
        for _ in range(40):
            try:
                await asyncio.gather(*(sender.send("bob", "x", {}) for _ in range(3)))
                taken += 3
            except Backpressure:
                await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*map(flood, senders))
    done.set()
    await watching

    accepted = len(await system.audit(decision="allowed", kind="message"))
    await until(lambda: len(bob.messages) == accepted)
    assert highest <= BOUND


async def test_a_request_to_a_full_inbox_is_refused_at_once(system):
    """It does not wait for its time-out."""
    gate = asyncio.Event()

    class Stuck(type(system.agent("bob"))):
        async def on_message(self, message):
            await gate.wait()

    await system.run("bob", Stuck)
    alice = await system.run("alice")
    for _ in range(BOUND):
        await alice.send("bob", "x", {})

    with pytest.raises(Backpressure):
        await alice.request("bob", "ask", {}, timeout=20)
    gate.set()


async def test_a_full_server_refuses_and_heals():
    """Memory at its limit: sends are refused as store_full; with room again they pass (R9)."""
    async with (
        embedded_server() as server,
        live_system(server.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system,
    ):
        bob = await system.run("bob")
        alice = await system.run("alice")
        await alice.send("bob", "x", {"n": 1})
        await system.store.connection.call("CONFIG", "SET", "maxmemory", "1mb")

        with pytest.raises(StoreFull):
            await alice.send("bob", "x", {"n": 2})
        await system.store.connection.call("CONFIG", "SET", "maxmemory", "0")

        await alice.send("bob", "x", {"n": 3})
        await until(lambda: 3 in bob.numbers)
        assert await system.audit_holds()


async def test_what_was_refused_by_a_full_server_is_not_delivered_later():
    """A refusal is one: whoever sends the message again does not double it."""
    async with (
        embedded_server() as server,
        live_system(server.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system,
    ):
        bob = await system.run("bob")
        alice = await system.run("alice")
        await system.store.connection.call("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(StoreFull):
            await alice.send("bob", "x", {"n": 1})
        await system.store.connection.call("CONFIG", "SET", "maxmemory", "0")

        await alice.send("bob", "x", {"n": 1})
        await alice.send("bob", "last", {"n": 2})
        await until(lambda: 2 in bob.numbers)

        assert bob.numbers == [1, 2]
