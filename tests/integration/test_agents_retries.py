"""Messages that could not be handled: tried again, given up, never lost and never doubled."""

import asyncio
import contextlib

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core import RetryPolicy
from mas_core.agent import inbox
from mas_core.store.partitions import PartitionStore


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


def after(seconds, **options):
    """A policy with this delay."""
    return RetryPolicy(strategy="fixed", base=seconds, jitter=0, **options)


async def backlog(system, agent_id="worker"):
    return sum((await system.store.agent(agent_id).backlog()).values())


async def settled(system, agent_id="worker"):
    """Wait until the agent has nothing left to do."""

    async def is_empty():
        return await backlog(system, agent_id) == 0

    await until(is_empty)


class Failing(Recorder):
    """Fails as often as it is told to."""

    failures = 0

    async def on_message(self, message):
        await super().on_message(message)
        if len(self.messages) <= self.failures:
            raise RuntimeError("card 4111111111111111 declined")


async def test_a_message_that_failed_is_tried_again(system, quick):
    """With a higher attempt; when it is handled then, that is all. Each attempt is in the audit."""
    worker = await system.run("worker", Failing)
    worker.failures = 2
    alice = await system.run("alice")

    receipt = await alice.send("worker", "x", {"n": 1})
    await until(lambda: len(worker.messages) == 3)
    await settled(system)

    assert [message.attempt for message in worker.messages] == [1, 2, 3]
    assert {message.message_id for message in worker.messages} == {receipt.message_id}
    retries = await system.audit(kind="delivery.retry")
    assert [record.details["attempt"] for record in retries] == [2, 3]
    assert await system.store.records.dead_letters() == 0


async def test_a_message_that_keeps_failing_becomes_a_dead_letter(system, quick):
    """After three attempts, with its reason but never with the text of the exception."""
    worker = await system.run("worker", Failing)
    worker.failures = 99
    alice = await system.run("alice")

    receipt = await alice.send("worker", "x", {"n": 1})
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert len(worker.messages) == 3
    assert (dead.message_id, dead.reason) == (receipt.message_id, "handler_failed: RuntimeError")
    assert await system.store.records.dead_letters() == 1
    await settled(system)
    key = system.store.keys.dead(0)
    assert b"4111" not in repr(await system.store.connection.call("XRANGE", key, "-", "+")).encode()
    assert await system.audit_holds()


async def test_others_go_on_while_one_message_is_tried_again(system, quick):
    """A failing message holds nobody up (R12)."""

    class Picky(Recorder):
        async def on_message(self, message):
            if message.data["n"] == 0:
                raise RuntimeError
            await super().on_message(message)

    worker = await system.run("worker", Picky, max_in_flight=1)
    alice = await system.run("alice")
    for number in range(10):
        await alice.send("worker", "x", {"n": number})

    await until(lambda: len(worker.messages) == 9)

    assert worker.numbers == list(range(1, 10))


async def test_a_retry_of_an_agent_that_was_removed_is_kept_as_a_dead_letter(system):
    """Nothing that was acknowledged vanishes."""
    worker = await system.run("worker", Failing, retry=after(0.6))
    worker.failures = 1
    alice = await system.run("alice")
    await alice.send("worker", "x", {"n": 1})
    await until(lambda: system.audit(kind="delivery.retry"))
    await worker.stop()

    from mas_core.ops.agents import deregister

    await deregister(system.system, "worker")

    async def dead():
        return await system.store.records.dead_letters()

    assert await until(dead) == 1
    (record,) = await system.audit(kind="delivery.dead")
    assert record.target == "worker"


async def test_a_retry_that_comes_too_late_is_a_dead_letter(system):
    """Its time to live ended meanwhile."""
    worker = await system.run("worker", Failing, retry=after(0.4))
    worker.failures = 1
    alice = await system.run("alice")

    await alice.send("worker", "x", {"n": 1}, ttl=0.2)
    (record,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert record.reason == "its time to live ended before the next attempt"
    assert len(worker.messages) == 1


async def test_a_retry_is_delivered_once_however_slow_commits_are(system, monkeypatch):
    """It is not taken up again while the batch that takes it up is on its way."""
    commit = PartitionStore.commit

    async def slow_commit(self, *arguments):
        await asyncio.sleep(0.35)
        return await commit(self, *arguments)

    await system.register("carol")
    await system.allow(("alice", "bob"))
    await system.run("bob")
    worker = await system.run("worker", Failing)
    worker.failures = 1
    alice = await system.run("alice")
    monkeypatch.setattr(PartitionStore, "commit", slow_commit)

    await alice.send("worker", "x", {"n": 1})
    loads = [asyncio.create_task(_send_for(alice, pause)) for pause in (0.0, 0.05, 0.1)]
    await asyncio.gather(*loads)

    assert [message.attempt for message in worker.messages] == [1, 2]


async def _send_for(sender, pause, seconds=3.2):
    await asyncio.sleep(pause)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await sender.send("bob", "x", {})


async def test_a_message_whose_time_ended_in_the_inbox_is_not_handled(system):
    """It becomes a dead letter with that reason."""
    alice = await system.run("alice")
    await alice.send("worker", "x", {"n": 1}, ttl=0.05)
    await asyncio.sleep(0.1)
    worker = await system.run("worker")

    (record,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert record.reason.startswith("expired")
    assert worker.messages == []
