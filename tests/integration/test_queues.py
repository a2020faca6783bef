"""Queues: what waits, what is in hand, how fast it moves, and what lies in them."""

import asyncio
from dataclasses import replace

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import AgentNotFound
from mas_core.ops import queues
from mas_core.ops.system import System
from mas_core.resilience.retry_policy import RetryPolicy


class Holding(Recorder):
    """Keeps every message in hand until it is let go."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gate = asyncio.Event()

    async def on_message(self, message):
        await super().on_message(message)
        await self.gate.wait()
        if message.data.get("fails"):
            raise RuntimeError("no")


@pytest.fixture
async def system(server_url):
    """alice may talk to the worker."""
    async with live_system(server_url, agents=["alice", "worker"], allow=[("alice", "worker")]) as opened:
        yield opened


async def queue(system, before=None):
    return (await queues.look(system.system, ["worker"], before)).queues["worker"]


async def test_what_waits_and_what_is_in_hand_is_counted_in_messages(system):
    """By lane and instance; a frame of many messages counts as many."""
    alice = await system.client("alice")
    await asyncio.gather(*(alice.send("worker", "job.run", {"n": n}) for n in range(20)))
    await alice.send("worker", "job.run", {"n": 20}, priority="critical")

    found = await queue(system)
    assert (found.total.waiting, found.total.in_hand, found.consumers) == (21, 0, {})
    assert (found.lanes["high"].waiting, found.lanes["normal"].waiting, found.lanes["low"].waiting) == (
        1,
        20,
        0,
    )
    assert found.total.oldest >= found.lanes["high"].oldest
    assert found.lanes["low"].oldest is None

    worker = await system.run("worker", Holding, max_in_flight=100)
    await until(lambda: len(worker.messages) == 21)
    found = await queue(system)
    assert (found.total.waiting, found.total.in_hand) == (0, 21)
    assert found.consumers == {worker.instance: 21}
    assert found.total.deliveries == 1

    worker.gate.set()
    await until(lambda: queue_is_empty(system))


async def queue_is_empty(system):
    return (await queue(system)).size == 0


async def test_rates_are_those_between_two_looks(system):
    """What was handled and what was handed back both left the queue."""
    alice = await system.client("alice")
    worker = await system.run("worker", Holding, retry=RetryPolicy(base=60))
    await alice.send("worker", "job.run", {"n": 1})
    await alice.send("worker", "job.run", {"fails": True})
    await until(lambda: len(worker.messages) == 2)
    before = await queues.look(system.system, ["worker"])
    assert before.queues["worker"].out_rate is None

    await alice.send("worker", "job.run", {"n": 3})
    worker.gate.set()
    await until(lambda: queue_is_empty(system))
    after = await queues.look(system.system, ["worker"], before)

    found, seconds = after.queues["worker"], (after.at - before.at) / 1000
    assert round(found.out_rate * seconds) >= 3
    assert round(found.in_rate * seconds) == round(found.out_rate * seconds) - 2


async def test_retries_are_counted_where_they_come_again(system):
    """A message that failed waits for its next attempt outside of the queue."""
    alice = await system.client("alice")
    worker = await system.run("worker", Holding, retry=RetryPolicy(base=60))
    worker.gate.set()
    await alice.send("worker", "job.run", {"fails": True})

    found = await until(lambda: retrying(system))
    assert (found.retries, found.size) == (1, 0)


async def retrying(system):
    found = await queue(system)
    return found if found.retries else None


async def test_a_queue_is_looked_into_with_the_keys_only(system):
    """Ids, types and payloads with the gateway's keys; without them a frame is a row that says so."""
    alice = await system.client("alice")
    worker = await system.run("worker", Holding)
    first = await alice.send("worker", "job.run", {"secret": "tulip"})
    await until(lambda: worker.messages)

    (held,) = await queues.inspect(system.system, "worker", queues.Sought(in_hand_only=True))
    assert (held.message.id, held.message.type, held.message.sender) == (first.message_id, "job.run", "alice")
    assert (held.consumer, held.deliveries) == (worker.instance, 1)
    assert held.idle is not None
    assert held.payload == {"secret": "tulip"}
    assert await queues.inspect(system.system, "worker", queues.Sought(idle_s=60)) == []

    async with System(replace(system.system.target, keys_dir=None)) as outside:
        (row,) = await queues.inspect(outside, "worker")
    assert (row.message, row.payload, row.consumer) == (None, None, worker.instance)
    assert "keys are not at hand" in row.problem
    worker.gate.set()


async def test_what_no_gateway_put_there_is_shown_as_that(system):
    """Whatever its header says: it counts for nothing and breaks nothing."""
    alice = await system.client("alice")
    await alice.send("worker", "job.run", {"n": 1})
    keys, connection = system.store.keys, system.store.connection
    inbox = keys.inbox(0, "worker", "normal")
    (found,) = await connection.call("XRANGE", inbox, "-", "+")
    fields = [item for pair in found[1].items() for item in pair] if isinstance(found[1], dict) else found[1]
    low = keys.inbox(0, "worker", "low")
    await connection.call("XADD", low, "*", *fields)
    await connection.call("XADD", low, "*", "h", b"\xff\x00", "b", b"x")
    await connection.call("XADD", low, "*", "q", b"\x1b[31m")

    rows = await queues.inspect(system.system, "worker")
    assert [(row.lane, row.message is not None) for row in rows] == [
        ("normal", True),
        ("low", False),
        ("low", False),
        ("low", False),
    ]
    assert all("no gateway of this system sealed it" in row.problem for row in rows[1:])


async def test_the_first_so_many_are_read(system):
    """Frames are read page by page, in the order in which they come."""
    alice = await system.client("alice")
    for number in range(40):
        await alice.send("worker", "job.run", {"n": number})

    rows = await queues.inspect(system.system, "worker", most=30)
    assert [row.payload["n"] for row in rows] == list(range(30))
    assert len(await queues.inspect(system.system, "worker", most=0)) == 40


async def test_an_agent_that_is_not_there_has_no_queue(system):
    """Told as such, not as an empty queue."""
    with pytest.raises(AgentNotFound):
        await queues.look(system.system, ["nobody"])
    with pytest.raises(AgentNotFound):
        await queues.inspect(system.system, "nobody")
