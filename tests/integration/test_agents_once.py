"""What a handler does takes effect once: killed, repeated, handed back, taken over."""

import asyncio
import sys

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core import RetryPolicy
from mas_core.agent import inbox
from mas_core.agent.agent import Agent
from mas_core.ops import dead_letters

CRASHING = """
import asyncio, os, sys
from mas_core.agent import Agent, settling

# Whatever is not settled before the process dies was as good as never handled.
settling.LINGER_S = 0.5

class Crashing(Agent):
    async def on_message(self, message):
        if message.data.get("kill"):
            await self.send("bob", "made", {"n": message.data["n"]})
            await self.update_state({"seen": message.data["n"]})
            os._exit(9)

async def main():
    url, namespace, token, slot = sys.stdin.readline().split("|")
    async with Crashing("worker", redis_url=url, namespace=namespace, token=token, slot=slot.strip()):
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
async def system(server_url):
    """alice may talk to the worker, and the worker to bob."""
    pairs = [("alice", "worker"), ("worker", "bob")]
    async with live_system(server_url, agents=["alice", "worker", "bob"], allow=pairs) as opened:
        yield opened


@pytest.fixture
def quick(monkeypatch):
    """Claims that do not take seconds."""
    monkeypatch.setattr(inbox, "CLAIM_INTERVAL_S", 0.05)


async def crashing_worker(system, slot=""):
    """A worker in a process of its own, which dies where its message tells it to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    line = "|".join((system.system.target.url, system.store.namespace, system.tokens["worker"], slot))
    process.stdin.write(line.encode() + b"\n")
    assert await process.stdout.readline() == b"ready\n"
    return process


async def backlog(system, agent_id="worker"):
    return sum((await system.store.agent(agent_id).backlog()).values())


async def settled(system, agent_id="worker"):
    """Wait until the agent has nothing left to do."""

    async def is_empty():
        return await backlog(system, agent_id) == 0

    await until(is_empty)


class Forwarding(Agent):
    """Sends two messages on, then is stopped in the middle or finishes."""

    runs = 0
    gate: asyncio.Event

    async def on_message(self, message):
        type(self).runs += 1
        await self.send("bob", "made", {"n": message.data["n"]})
        await self.send("bob", "made", {"n": message.data["n"] + 1})
        await self.update_state({"count": self.state.get("count", 0) + 1})
        await self.gate.wait()


async def test_a_handler_that_was_stopped_between_sending_and_settling_sends_nothing_twice(system, quick):
    """Ids of what it sends derive from what it handles; its state counts once (idea: exactly-once effect)."""

    class Worker(Forwarding):
        runs = 0
        gate = asyncio.Event()

    bob = await system.run("bob")
    alice = await system.run("alice")
    first = system.agent("worker", Worker)
    await first.start()
    await alice.send("worker", "x", {"n": 10})
    await until(lambda: len(bob.messages) == 2)
    assert not await first.stop(drain_timeout=0.01)

    Worker.gate.set()
    second = await system.run("worker", Worker)
    await settled(system)
    await alice.send("worker", "x", {"n": 20})
    await until(lambda: 21 in bob.numbers)
    await settled(system)

    # Each run that changes the state starts anew alone, so there are more runs than messages.
    await second.refresh_state()
    assert Worker.runs >= 3
    assert bob.numbers == [10, 11, 20, 21]
    assert second.state == {"count": 2}


async def test_a_killed_process_leaves_its_message_to_the_next(system, quick):
    """kill -9 between sending and settling: what it sent is not sent twice, its state was not written (R16)."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    process = await crashing_worker(system, slot="worker-0")
    await alice.send("worker", "x", {"n": 5, "kill": True})
    assert await process.wait() == 9

    class Worker(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            await self.send("bob", "made", {"n": message.data["n"]})
            await self.update_state({"seen": message.data["n"]})

    worker = await system.run("worker", Worker, slot="worker-0")
    await until(lambda: worker.state == {"seen": 5})
    await settled(system)

    assert bob.numbers == [5]


async def test_without_a_slot_a_dead_instance_is_waited_for_until_its_heartbeat_lapses(
    system, quick, monkeypatch
):
    """Then its messages are taken over."""
    alice = await system.run("alice")
    process = await crashing_worker(system)
    await alice.send("worker", "x", {"n": 5, "kill": True})
    assert await process.wait() == 9
    monkeypatch.setattr(inbox, "ALIVE_MS", 1_500)

    worker = await system.run("worker")
    assert worker.messages == []
    await until(lambda: worker.numbers == [5])


async def test_a_message_that_kills_every_instance_is_given_up(system, quick):
    """R12: after three attempts, each in its history; others that were in the same hands are handled."""
    alice = await system.run("alice")
    await asyncio.gather(
        *(alice.send("worker", "x", {"n": number, "kill": number == 3}) for number in range(6))
    )
    for _ in range(3):
        process = await crashing_worker(system, slot="worker-0")
        assert await process.wait() == 9

    worker = await system.run("worker", slot="worker-0")
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))
    await settled(system)

    assert dead.reason == "poison: the instance that started it died before it was done"
    assert 3 not in worker.numbers
    (letter,) = (await dead_letters.list_letters(system.system)).letters
    assert (letter.facts.code, letter.facts.attempts) == ("poison", 3)
    history = letter.facts.history
    assert [(attempt.number, attempt.code) for attempt in history] == [(1, "died"), (2, "died"), (3, "died")]
    assert "may have started it" in history[0].reason
    assert len({attempt.instance for attempt in history}) == 3
    assert worker.instance not in {attempt.instance for attempt in history}
    assert [attempt.at for attempt in history] == sorted(attempt.at for attempt in history)
    (retry,) = await system.audit(kind="delivery.retry")
    assert (retry.reason, retry.details["attempt"]) == (dead.reason, 3)


async def test_others_are_handled_while_one_that_kills_is_between_its_attempts(system, quick):
    """R12: it rests as its policy says, and the instance that found it goes on meanwhile."""
    alice = await system.run("alice")
    await alice.send("worker", "x", {"n": 0, "kill": True})
    for _ in range(2):
        process = await crashing_worker(system, slot="worker-0")
        assert await process.wait() == 9
    slow = RetryPolicy(strategy="fixed", base=600, max_delay=600)
    worker = await system.run("worker", slot="worker-0", retry=slow)
    await until(lambda: system.audit(kind="delivery.retry"))

    for number in range(1, 6):
        await alice.send("worker", "x", {"n": number})
    await until(lambda: len(worker.numbers) == 5)

    assert worker.numbers == [1, 2, 3, 4, 5]
    assert await system.store.connection.call("ZCARD", system.store.keys.later(0)) == 1


async def test_what_was_only_held_by_an_instance_that_died_has_all_its_attempts(system, quick):
    """Dying with it in hand counts for nothing where its own starts do not kill."""
    alice = await system.run("alice")
    await asyncio.gather(
        *(alice.send("worker", "x", {"n": number, "kill": number == 0}) for number in range(4))
    )
    process = await crashing_worker(system, slot="worker-0")
    assert await process.wait() == 9

    class Failing(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            if message.data["n"] == 2:
                raise KeyError

    worker = await system.run("worker", Failing, slot="worker-0")
    await until(lambda: system.audit(kind="delivery.dead"))
    await settled(system)

    (letter,) = (await dead_letters.list_letters(system.system)).letters
    assert [attempt.code for attempt in letter.facts.history] == ["handler_failed"] * 3
    assert (sorted(set(worker.numbers)), worker.numbers.count(2)) == ([0, 1, 2, 3], 3)


async def test_stopping_in_order_in_the_middle_of_a_handler_is_no_attempt(system, quick):
    """However often: handlers that take longer than their instances may drain are not to blame for that."""

    class Slow(Recorder):
        gate = asyncio.Event()

        async def on_message(self, message):
            await super().on_message(message)
            await self.gate.wait()

    alice = await system.run("alice")
    await alice.send("worker", "x", {"n": 1})
    for _ in range(5):
        worker = system.agent("worker", Slow)
        await worker.start()
        await until(lambda found=worker: found.messages)
        await worker.stop(drain_timeout=0.01)

    Slow.gate.set()
    last = await system.run("worker", Slow)
    await settled(system)

    assert last.numbers == [1]
    assert await system.audit(kind="delivery.retry") == []
    assert await system.store.records.dead_letters() == 0


async def test_a_claimed_message_that_takes_long_holds_up_no_other(system, quick, monkeypatch):
    """Those that its dead instance held too are started beside it after a while."""
    monkeypatch.setattr(inbox, "ALONE_S", 0.05)

    class Slow(Recorder):
        gate = asyncio.Event()

        async def on_message(self, message):
            await super().on_message(message)
            if message.data["n"] == 0:
                await self.gate.wait()

    alice = await system.run("alice")
    first = system.agent("worker", Slow, slot="worker-0", max_in_flight=1)
    await first.start()
    await alice.send_many("worker", "x", [{"n": number} for number in range(3)])
    await until(lambda: first.messages)
    await first.stop(drain_timeout=0.01)

    second = await system.run("worker", Slow, slot="worker-0")
    await until(lambda: second.numbers == [0, 1, 2])

    Slow.gate.set()
    await settled(system)


async def test_a_replaced_instance_that_comes_back_settles_nothing(system, quick):
    """The new instance in its slot has taken its messages; the old one's handlers have no effect any more."""

    class Worker(Recorder):
        gate = asyncio.Event()

        async def on_message(self, message):
            await super().on_message(message)
            await self.update_state({"by": self.instance})
            if self.held:
                await self.gate.wait()

    old = system.agent("worker", Worker, slot="worker-0")
    old.held = True
    alice = await system.run("alice")
    async with old:
        await alice.send("worker", "x", {"n": 1})
        await until(lambda: old.messages)
        new = system.agent("worker", Worker, slot="worker-0")
        new.held = False
        await system.stack.enter_async_context(new)
        await until(lambda: new.state == {"by": new.instance})
        Worker.gate.set()
        await until(lambda: old._dispatch.in_hand == 0)

    await new.refresh_state()
    assert new.state == {"by": new.instance}
    assert await backlog(system) == 0


async def test_a_claimed_message_is_handled_once_even_when_the_server_goes_away_meanwhile(system, quick):
    """Looking back after a lost connection does not start what is being handled."""

    class Slow(Recorder):
        gate = asyncio.Event()

        async def on_message(self, message):
            await super().on_message(message)
            await self.gate.wait()

    alice = await system.run("alice")
    first = system.agent("worker", Slow)
    await first.start()
    await alice.send("worker", "x", {"n": 1})
    await until(lambda: first.messages)
    await first.stop(drain_timeout=0.01)
    second = await system.run("worker", Slow)
    await until(lambda: second.messages)

    # What the reader does after it lost the connection.
    inbox_ = second._dispatch._inbox
    for frame in await system.store.agent("worker").read_pending(second.instance):
        inbox_._take_frame(frame.lane, frame.entry, frame.frame, frame.marks)
    await alice.send("worker", "x", {"n": 2})
    await until(lambda: 2 in second.numbers)
    Slow.gate.set()
    await settled(system)

    assert second.numbers == [1, 2]


async def test_a_count_is_exact_over_instances_that_are_stopped_in_the_middle(system, quick):
    """Every message counts once and sends once, however often its handler was begun."""

    class Counting(Agent):
        async def on_message(self, message):
            await self.send("bob", "made", {"n": message.data["n"]})
            await self.update_state({"count": self.state.get("count", 0) + 1})

    bob = await system.run("bob")
    alice = await system.run("alice")
    sending = asyncio.gather(*(alice.send("worker", "x", {"n": number}) for number in range(150)))
    for _ in range(5):
        worker = system.agent("worker", Counting)
        await worker.start()
        await asyncio.sleep(0.03)
        await worker.stop(drain_timeout=0.0)
    await sending
    last = await system.run("worker", Counting)
    await settled(system)
    await settled(system, "bob")

    await last.refresh_state()
    assert last.state == {"count": 150}
    assert sorted(bob.numbers) == list(range(150))
