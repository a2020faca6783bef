"""At most once, at least once, exactly once: what a failing handler and a killed process leave of each."""

import asyncio
import os
import sys

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import inbox
from mas_core.errors import Forbidden, GatewayDown, UsageError
from mas_core.model.message import NACK
from mas_core.store.agents import HANDLED_BEFORE

MODES = ("at_most_once", "at_least_once", "exactly_once")

DYING = """
import asyncio, os, sys
from mas_core.agent import Agent

class Dying(Agent):
    async def on_message(self, message):
        print("began", flush=True)
        await asyncio.sleep(0.05)
        os._exit(9)

async def main():
    url, namespace, token = sys.stdin.readline().strip().split("|")
    async with Dying("worker", redis_url=url, namespace=namespace, token=token, slot="worker-0"):
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


async def forget_ids(system):
    """Another gateway takes over, and what was known of ids is lost."""
    for gateway in system.gateways:
        await gateway.stop()
    system.gateways.clear()
    for key in await system.store.connection.call("KEYS", f"{system.store.namespace}:*:seen:*"):
        await system.store.connection.call("DEL", key)
    await system.start_gateway()


class Failing(Recorder):
    """Keeps every message, and fails."""

    async def on_message(self, message):
        await super().on_message(message)
        raise RuntimeError("card 4111111111111111 declined")


class Counting(Recorder):
    """Counts in its state, and sends on."""

    async def on_message(self, message):
        await super().on_message(message)
        await self.send("bob", "made", {"n": message.data["n"]})
        await self.update_state({"count": self.state.get("count", 0) + 1})


async def settled(system):
    """Wait until the worker has nothing left to do."""

    async def is_empty():
        return not sum((await system.store.agent("worker").backlog()).values())

    await until(is_empty)


async def test_r12_what_fails_at_most_once_is_dropped_and_recorded(system, quick):
    """Neither tried again nor kept, and the audit says so without the text of the exception; others are kept."""
    worker = await system.run("worker", Failing)
    alice = await system.run("alice")
    once = await alice.send("worker", "x", {"n": 1}, delivery="at_most_once")
    often = await alice.send("worker", "x", {"n": 2}, delivery="at_least_once")

    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))
    (dropped,) = await system.audit(kind="delivery.dropped")
    await settled(system)

    assert worker.numbers == [1, 2, 2, 2]
    assert [message.attempt for message in worker.messages] == [1, 1, 2, 3]
    assert (dropped.message_id, dead.message_id) == (once.message_id, often.message_id)
    assert dropped.reason == "handler_failed: RuntimeError; it is handled at most once, so never again"
    assert await system.store.records.dead_letters() == 1
    accepted = [record.details["delivery"] for record in await system.audit(kind="message", sender="alice")]
    assert accepted == ["at_most_once", "at_least_once"]


async def test_the_receiver_decides_where_the_sender_does_not_say(system, quick):
    """The agent's own setting is the default; what a message asks for wins over it."""
    worker = await system.run("worker", Failing, delivery="at_most_once")
    alice = await system.run("alice")
    await alice.send("worker", "x", {"n": 1})
    await alice.send("worker", "x", {"n": 2}, delivery="at_least_once")
    await until(lambda: system.audit(kind="delivery.dead"))

    assert worker.numbers == [1, 2, 2, 2]
    assert len(await system.audit(kind="delivery.dropped")) == 1
    with pytest.raises(UsageError):
        await alice.send("worker", "x", {}, delivery="twice")
    with pytest.raises(UsageError):
        system.agent("worker", delivery="twice")


@pytest.mark.parametrize("mode", MODES)
async def test_r16_a_process_that_dies_in_its_handler(system, quick, mode):
    """At most once: the next instance does not start it, and the audit says why. Otherwise it is handled."""
    alice = await system.run("alice")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DYING, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    line = "|".join((system.system.target.url, system.store.namespace, system.tokens["worker"]))
    process.stdin.write(line.encode() + b"\n")
    assert await process.stdout.readline() == b"ready\n"
    await alice.send("worker", "x", {"n": 1}, delivery=mode)
    assert await process.stdout.readline() == b"began\n"
    assert await process.wait() == 9

    worker = await system.run("worker", Counting, slot="worker-0")
    await settled(system)

    if mode == "at_most_once":
        assert worker.messages == []
        (dropped,) = await system.audit(kind="delivery.dropped")
        assert dropped.reason.startswith("interrupted: an instance that ended before it was done")
    else:
        await until(lambda: worker.state == {"count": 1})
        assert [(message.attempt, message.takeovers) for message in worker.messages[:1]] == [(1, 1)]
    assert await system.store.records.dead_letters() == 0


COUNTING = """
import asyncio, sys
from mas_core.agent import Agent

class Counting(Agent):
    async def on_message(self, message):
        await self.send("bob", "made", {"n": message.data["n"]})
        await self.update_state({"count": self.state.get("count", 0) + 1})

async def main():
    url, namespace, token = sys.stdin.readline().strip().split("|")
    async with Counting("worker", redis_url=url, namespace=namespace, token=token, slot="worker-0"):
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("mode", "point", "count"),
    [
        ("at_most_once", "agent.marked_started", 0),
        ("at_most_once", "agent.before_settle", 0),
        ("at_most_once", "agent.after_settle", 1),
        ("exactly_once", "agent.before_settle", 1),
        ("exactly_once", "agent.after_settle", 1),
    ],
)
async def test_r2_a_receiver_that_dies_at_a_named_step(system, quick, mode, point, count):
    """What it left counts at most once, or exactly once, and the audit has what was given up (R2)."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COUNTING,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "MAS_TESTING": "1", "MAS_FAILPOINT": point},
    )
    line = "|".join((system.system.target.url, system.store.namespace, system.tokens["worker"]))
    process.stdin.write(line.encode() + b"\n")
    assert await process.stdout.readline() == b"ready\n"
    await alice.send("worker", "x", {"n": 1}, delivery=mode)
    assert await process.wait() != 0

    worker = await system.run("worker", Counting, slot="worker-0")
    await settled(system)
    await worker.refresh_state()
    dropped = await system.audit(kind="delivery.dropped")

    assert worker.state.get("count", 0) == count
    assert len(dropped) == 1 - count
    assert len(bob.messages) == (0 if point == "agent.marked_started" else 1)
    assert not (mode == "at_most_once" and worker.messages)


async def test_what_was_never_begun_is_taken_over_even_at_most_once(system, quick):
    """An instance that ended with it unopened in its hands has not used its one start."""

    class Slow(Recorder):
        gate = asyncio.Event()

        async def on_message(self, message):
            await super().on_message(message)
            await self.gate.wait()

    alice = await system.run("alice")
    first = system.agent("worker", Slow, max_in_flight=1)
    await first.start()
    for number in range(3):
        await alice.send("worker", "x", {"n": number}, delivery="at_most_once")
    await until(lambda: first.messages)
    await first.stop(drain_timeout=0.01)
    Slow.gate.set()
    second = await system.run("worker", Slow)
    await settled(system)

    assert (first.numbers, sorted(second.numbers)) == ([0], [1, 2])
    (dropped,) = await until(lambda: system.audit(kind="delivery.dropped"))
    assert dropped.reason.startswith("interrupted")


async def test_handlers_that_run_once_may_change_the_state(system, quick):
    """Side by side they get their turns without being run again, and no change is lost."""

    class Waiting(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            await asyncio.sleep(0.01)
            await self.update_state({"count": self.state.get("count", 0) + 1})

    worker = await system.run("worker", Waiting, delivery="at_most_once")
    alice = await system.run("alice")
    await asyncio.gather(*(alice.send("worker", "x", {"n": number}) for number in range(20)))
    await settled(system)

    assert sorted(worker.numbers) == list(range(20))
    dropped = await system.audit(kind="delivery.dropped")
    await worker.refresh_state()
    assert worker.state == {"count": 20 - len(dropped)}
    assert all("state" in record.reason for record in dropped)


async def test_r8_exactly_once_is_sent_again_under_the_id_that_the_error_names(system):
    """A sender without a receipt sends again; whether or not the first came through, it takes effect once."""
    worker = await system.run("worker", Counting)
    bob = await system.run("bob")
    alice = await system.client("alice")
    real, lost = alice._outbox.take_receipts, []
    alice._replies._on_receipts = lost.append

    with pytest.raises(GatewayDown) as error:
        await alice.send("worker", "x", {"n": 1}, delivery="exactly_once", timeout=1)
    await until(lambda: lost)
    alice._replies._on_receipts = real
    message_id = error.value.details["message_id"]
    again = await alice.send("worker", "x", {"n": 1}, delivery="exactly_once", message_id=message_id)
    await settled(system)

    await worker.refresh_state()
    assert again.message_id == message_id
    assert worker.numbers.count(1) <= 2  # begun again alone, because it changes the state
    assert (worker.state, bob.numbers) == ({"count": 1}, [1])
    assert len(await system.audit(kind="message", target="worker", decision="allowed")) == 1


async def test_the_receiver_suppresses_what_no_gateway_remembers(system):
    """Exactly once: the id came again after the gateway's memory was lost; at least once it is handled again."""
    worker = await system.run("worker", Counting)
    bob = await system.run("bob")
    alice = await system.client("alice")
    for mode in ("exactly_once", "at_least_once"):
        for _ in range(2):
            await alice.send("worker", "x", {"n": MODES.index(mode)}, delivery=mode, message_id=f"m-{mode}")
            await settled(system)
            await forget_ids(system)
    await settled(system)
    await until(lambda: len(worker.messages) >= 3)

    await worker.refresh_state()
    assert worker.state == {"count": 3}
    assert sorted(set(worker.numbers)) == [1, 2]
    assert bob.numbers.count(2) == 1


async def test_a_repeat_that_two_instances_handle_at_once_takes_effect_once(system):
    """Both pass the look before; the store lets one of them settle with its state."""
    alice = await system.client("alice")
    worker = await system.run("worker", Counting)
    await alice.send("worker", "x", {"n": 1}, delivery="exactly_once", message_id="same")
    await settled(system)
    store = worker._dispatch._store
    before = await store.get_state()
    results = []
    settle = store.settle

    async def noted(consumer, settlements):
        found = await settle(consumer, settlements)
        results.extend(found)
        return found

    async def blind(_mark):
        return False

    store.was_handled, store.settle = blind, noted
    await forget_ids(system)
    await alice.send("worker", "x", {"n": 1}, delivery="exactly_once", message_id="same")
    await until(lambda: HANDLED_BEFORE in results)

    assert await store.get_state() == before


async def test_r3_an_older_holder_can_neither_settle_nor_hand_back(system, quick):
    """Its frame was taken over: what it says of it is refused, and the new holder's word counts."""

    class Slow(Recorder):
        gate = asyncio.Event()

        async def on_message(self, message):
            await super().on_message(message)
            await self.gate.wait()

    alice = await system.run("alice")
    old = await system.run("worker", Slow, slot="worker-0")
    await alice.send("worker", "x", {"n": 1})
    await until(lambda: old.messages)
    (entry,) = (frame for _, frame in old._dispatch._inbox._held._open)
    new = await system.run("worker", Slow, slot="worker-0")
    await until(lambda: new.messages)
    data = {"lane": "normal", "entry": entry, "position": 0, "code": "x", "reason": "late", "retryable": True}

    with pytest.raises(Forbidden) as refused:
        await old._client.tell(NACK, data)
    Slow.gate.set()
    await settled(system)

    assert "not in the hands of this instance" in refused.value.details["because"]
    assert new.numbers == [1]
    assert await system.audit(kind="delivery.retry") == []
    again = await new._client.tell(NACK, data)
    assert again.reason == "the message is settled already"
