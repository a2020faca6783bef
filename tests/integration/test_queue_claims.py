"""Taking from an instance that hangs what it has in hand, for another to take over."""

import asyncio

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import inbox
from mas_core.errors import AgentNotFound, Conflict
from mas_core.ops import queue_claims, queues


class Hanging(Recorder):
    """Keeps every message in hand until it is let go."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gate = asyncio.Event()
        self.done = []

    async def on_message(self, message):
        await super().on_message(message)
        await self.gate.wait()
        self.done.append(message.data["n"])


@pytest.fixture
async def system(server_url, monkeypatch):
    """alice may talk to the worker; instances look for what they can take over more often."""
    monkeypatch.setattr(inbox, "CLAIM_INTERVAL_S", 0.1)
    async with live_system(server_url, agents=["alice", "worker"], allow=[("alice", "worker")]) as opened:
        yield opened


async def test_another_instance_takes_over_from_one_that_hangs(system):
    """The one that hung neither gets it back nor counts, when it goes on after all."""
    alice = await system.client("alice")
    hanging = await system.run("worker", Hanging)
    await alice.send("worker", "job.run", {"n": 1})
    await until(lambda: hanging.messages)

    assert await queue_claims.release(system.system, "worker", 60) == {}
    with pytest.raises(Conflict, match="no other instance"):
        await queue_claims.release(system.system, "worker", 0)
    assert {row.consumer for row in await queues.inspect(system.system, "worker")} == {hanging.instance}

    other = await system.run("worker")
    assert await queue_claims.release(system.system, "worker", 0, dry_run=True) == {hanging.instance: 1}
    assert other.messages == []
    assert await queue_claims.release(system.system, "worker", 0, note="it hangs") == {hanging.instance: 1}
    await until(lambda: other.numbers == [1])
    assert other.messages[0].takeovers == 1

    hanging.gate.set()
    await until(lambda: hanging.done == [1])
    await until(lambda: nothing_is_left(system))
    found = (await queues.look(system.system, ["worker"])).queues["worker"]
    assert (found.left, hanging.numbers, other.numbers) == (1, [1], [1])
    await until(lambda: is_recorded(system))


async def is_recorded(system):
    acts = [item for item in await system.audit(kind="operator") if item.type == "bus.claim"]
    return {item.decision for item in acts} == {"begun", "done"}


async def nothing_is_left(system):
    return (await queues.look(system.system, ["worker"])).queues["worker"].size == 0


async def test_an_agent_that_is_not_there_has_nothing_in_hand(system):
    """Told as such; one that never ran has nothing to take."""
    with pytest.raises(AgentNotFound):
        await queue_claims.release(system.system, "nobody", 0)
    assert await queue_claims.release(system.system, "worker", 0) == {}
