"""Who is there: discovery, capabilities, and instances that share the work."""

import asyncio

import pytest
from pydantic import BaseModel
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.errors import (
    Forbidden,
)


class Numbers(BaseModel):
    numbers: list[float]


class Calculator(Agent):
    capabilities = ("math",)

    @Agent.on("math.add", model=Numbers)
    async def add(self, message, payload):
        return {"result": sum(payload.numbers)}


@pytest.fixture
async def system(every_url):
    """alice may talk to the calculator."""
    async with live_system(every_url, agents=["alice", "calc"], allow=[("alice", "calc")]) as opened:
        yield opened


@pytest.fixture
async def calc(system):
    return await system.run("calc", Calculator)


@pytest.fixture
async def alice(system, calc):
    return await system.run("alice")


async def test_discovery_shows_whom_one_may_talk_to(system, alice):
    """By any capability or by all, by metadata, and never an agent that is not permitted (G2)."""
    await system.register("geo", "both", "hidden")
    await system.allow(("alice", "geo"), ("alice", "both"))
    await system.run("geo", capabilities=["geometry"], metadata={"site": "north"})
    await system.run("both", capabilities=["geometry", "math"], metadata={"site": "south"})
    await system.run("hidden", capabilities=["math"])

    async def found(*capabilities, **options):
        return sorted(item["id"] for item in await alice.discover(capabilities, **options))

    assert await found() == ["both", "calc", "geo"]
    assert await found("math") == ["both", "calc"]
    assert await found("math", "geometry") == ["both", "calc", "geo"]
    assert await found("math", "geometry", match_all=True) == ["both"]
    assert await found(metadata={"site": "north"}) == ["geo"]
    assert await found("chess") == []
    (calc,) = [item for item in await alice.discover(["math"]) if item["id"] == "calc"]
    assert calc == {
        "id": "calc", "capabilities": ["math"], "metadata": {}, "instances": 1, "load": 0, "free": 64,
    }  # fmt: skip


async def test_discovery_tells_how_much_more_an_agent_would_begin(system, alice):
    """All its instances that run, together."""
    await system.register("pool")
    await system.allow(("alice", "pool"))
    one, _ = [await system.run("pool", capabilities=["pool"], max_in_flight=3) for _ in range(2)]

    async def free():
        return [item["free"] for item in await alice.discover(["pool"])]

    assert await free() == [6]
    await one.stop()
    assert await free() == [3]


async def test_a_stopped_agent_is_not_discovered(system, alice, calc):
    """It said goodbye."""
    await calc.stop()

    assert await alice.discover(["math"]) == []


async def test_capabilities_that_were_not_granted_cannot_be_claimed(system):
    """An agent registered with a list may claim from it only (S38)."""
    await system.register("limited", capabilities=["a", "b"])

    async with system.agent("limited", capabilities=["a"]):
        pass
    with pytest.raises(Forbidden) as caught:
        await system.agent("limited", capabilities=["a", "admin"]).start()

    assert "the agent may not claim the capability admin" in caught.value.details["because"]


async def test_two_instances_share_the_work(system, alice):
    """Each message is handled by one of them; while one is busy the other goes on (M8)."""
    both_busy = asyncio.Event()

    class Busy(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            await both_busy.wait()

    await system.register("pool")
    await system.allow(("alice", "pool"))
    one, two = [await system.run("pool", Busy, max_in_flight=1) for _ in range(2)]

    for number in range(60):
        await alice.send("pool", "work", {"n": number})
    await until(lambda: one.messages and two.messages)
    both_busy.set()
    await until(lambda: len(one.messages) + len(two.messages) >= 60)

    assert sorted(one.numbers + two.numbers) == list(range(60))


async def test_replies_return_to_the_very_instance_that_asked(system, calc):
    """Two instances of the asker get each their own (M4)."""
    one, two = [await system.run("alice") for _ in range(2)]

    replies = await asyncio.gather(
        *(
            agent.request("calc", "math.add", {"numbers": [base, number]})
            for number in range(20)
            for agent, base in ((one, 100), (two, 200))
        )
    )

    assert [reply.data["result"] for reply in replies] == [
        base + number for number in range(20) for base in (100, 200)
    ]
