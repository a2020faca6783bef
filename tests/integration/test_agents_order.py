"""The order of messages: kept by one instance, given up by several, strict where an agent asks for it."""

import asyncio
from collections import defaultdict

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import inbox


@pytest.fixture
async def system(server_url):
    """alice and carol may talk to the worker."""
    pairs = [("alice", "worker"), ("carol", "worker")]
    async with live_system(server_url, agents=["alice", "carol", "worker"], allow=pairs) as opened:
        yield opened


class Uneven(Recorder):
    """Takes longest for the first messages of each sender, and notes when handlers begin and end."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.running = defaultdict(int)
        self.most = defaultdict(int)
        self.done = defaultdict(list)

    async def on_message(self, message):
        """Keep it, after a while."""
        sender, number = message.sender_id, message.data["n"]
        self.running[sender] += 1
        self.running["all"] += 1
        for name in (sender, "all"):
            self.most[name] = max(self.most[name], self.running[name])
        await super().on_message(message)
        await asyncio.sleep(0.02 if number % 3 == 0 else 0)
        self.done[sender].append(number)
        self.running[sender] -= 1
        self.running["all"] -= 1


async def send_all(system, count, priorities=(5,)):
    clients = [await system.client(name) for name in ("alice", "carol")]
    for client in clients:
        for priority in priorities:
            await client.send_many(
                "worker", "x", [{"n": number} for number in range(count)], priority=priority
            )


async def settled(system):
    async def is_empty():
        return not sum((await system.store.agent("worker").backlog()).values())

    await until(is_empty, 20)


async def test_r20_one_instance_starts_handlers_in_order_and_ends_them_as_they_come(system):
    """First in, first started for each sender and lane; handlers run side by side (R20)."""
    worker = await system.run("worker", Uneven)
    await send_all(system, 30)
    await settled(system)

    for sender in ("alice", "carol"):
        started = [message.data["n"] for message in worker.messages if message.sender_id == sender]
        assert started == list(range(30))
        assert worker.done[sender] != started
    assert worker.most["alice"] > 1


@pytest.mark.parametrize("max_in_flight", [3, 64])
async def test_r20_an_ordered_agent_handles_one_of_a_sender_at_a_time(system, max_in_flight):
    """Each ends before the next of its sender starts; other senders are not held up (R20, M8)."""
    worker = await system.run("worker", Uneven, ordered=True, max_in_flight=max_in_flight)
    await send_all(system, 40)
    await settled(system)

    for sender in ("alice", "carol"):
        assert worker.done[sender] == list(range(40))
        assert worker.most[sender] == 1
    assert worker.most["all"] == 2


async def test_m8_several_instances_give_the_order_up_and_lose_nothing(system):
    """Each keeps the order of what it takes; between them there is none, as the documents say (M8)."""
    workers = [await system.run("worker", Uneven, ordered=True) for _ in range(3)]
    alice = await system.client("alice")
    for number in range(60):
        # Each in a frame of its own: an instance takes whole frames.
        await alice.send("worker", "x", {"n": number})
    await settled(system)

    taken = [[m.data["n"] for m in worker.messages if m.sender_id == "alice"] for worker in workers]
    assert sorted(number for numbers in taken for number in numbers) == list(range(60))
    assert sum(bool(numbers) for numbers in taken) > 1
    for worker, numbers in zip(workers, taken, strict=True):
        assert worker.done["alice"] == numbers == sorted(numbers)
        assert worker.most["alice"] == 1


async def test_an_ordered_agent_takes_over_what_a_dead_instance_held(system, monkeypatch):
    """One at a time as ever, although what is taken over and what is new come by different ways."""
    monkeypatch.setattr(inbox, "CLAIM_INTERVAL_S", 0.05)

    class Stuck(Uneven):
        gate = asyncio.Event()

        async def on_message(self, message):
            await self.gate.wait()
            await super().on_message(message)

    first = system.agent("worker", Stuck, ordered=True)
    await first.start()
    await send_all(system, 10)
    await until(lambda: first._dispatch.in_hand >= 10)
    await first.stop(drain_timeout=0.01)
    Stuck.gate.set()
    second = await system.run("worker", Uneven, ordered=True)
    await send_all(system, 10)
    await settled(system)

    assert sorted(second.done["alice"]) == sorted([*range(10), *range(10)])
    assert second.most["alice"] == 1
    assert first.messages == []


async def test_an_ordered_agent_that_an_operator_holds_goes_on_where_it_was(system):
    """Nothing starts meanwhile, and nothing is out of order afterwards."""
    worker = await system.run("worker", Uneven, ordered=True)
    await send_all(system, 30)
    await until(lambda: len(worker.done["alice"]) > 3)
    worker._hold()
    await until(lambda: not worker.running["all"])
    seen = len(worker.messages)
    await asyncio.sleep(0.1)
    held = len(worker.messages)
    worker._resume()
    await settled(system)

    assert (seen, worker.most["alice"]) == (held, 1)
    assert worker.done["alice"] == worker.done["carol"] == list(range(30))


async def test_what_is_tried_again_has_lost_its_place(system):
    """A message that failed holds up none of its sender, ordered or not, as the documents say."""

    class Picky(Uneven):
        async def on_message(self, message):
            if message.data["n"] == 0 and message.attempt == 1:
                raise RuntimeError
            await super().on_message(message)

    worker = await system.run("worker", Picky, ordered=True)
    await send_all(system, 5)
    await until(lambda: len(worker.done["alice"]) == len(worker.done["carol"]) == 5)

    assert worker.done["alice"] == [1, 2, 3, 4, 0]
