"""When messages come again: as handler, agent or gateway say, and never as a hostile agent would have it."""

import asyncio
import time

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core import Agent, AgentFailed, CircuitOpen, InvalidPayload, RetryPolicy
from mas_core.agent.dispatch import Dispatch
from mas_core.model.message import NACK, POISON
from mas_core.ops import dead_letters


@pytest.fixture
async def system():
    """alice may talk to the worker."""
    async with live_system("memory://", agents=["alice", "worker"], allow=[("alice", "worker")]) as opened:
        yield opened


def quick(**options):
    return RetryPolicy(strategy="fixed", base=0.01, jitter=0, **options)


async def letters(system):
    """Dead letters by the type of their message."""
    found = (await dead_letters.list_letters(system.system)).letters
    return {letter.facts.type: letter.facts for letter in found}


class Failing(Recorder):
    """Fails always, each type in its own way."""

    async def on_message(self, message):
        await super().on_message(message)
        raise KeyError(message.message_type)

    @Agent.on("once", retry=quick(attempts=1))
    async def once(self, message):
        await self.on_message(message)

    @Agent.on("twice.handler", retry=quick(attempts=9))
    async def twice(self, message):
        await self.on_message(message)

    @Agent.on("wrong")
    async def wrong(self, message):
        await super().on_message(message)
        raise InvalidPayload("no")

    @Agent.on("picky", retry=quick(attempts=5, retry_on=("gateway_down", "ConnectionError")))
    async def picky(self, message):
        await self.on_message(message)


async def test_types_count_before_handlers_and_handlers_before_agents(system):
    """What fits no pattern and no handler is as the agent says for all; errors not worth it end it at once."""
    policies = {"twice.*": quick(attempts=2), "*": quick(attempts=4)}
    await system.run("worker", Failing, retry=policies)
    alice = await system.run("alice")
    types = ["once", "twice.handler", "other", "wrong", "picky"]
    for message_type in types:
        await alice.send("worker", message_type, {})

    async def all_dead():
        found = await letters(system)
        return found if len(found) == len(types) else None

    found = await until(all_dead)

    assert {name: facts.attempts for name, facts in found.items()} == {
        "once": 1,
        "twice.handler": 2,
        "other": 4,
        "wrong": 1,
        "picky": 1,
    }
    assert [attempt.number for attempt in found["other"].history] == [1, 2, 3, 4]


async def test_the_gateway_says_for_those_who_say_nothing():
    """`gateway.retry` in mas.yaml."""
    async with live_system(
        "memory://",
        agents=["alice", "worker"],
        allow=[("alice", "worker")],
        retry={"attempts": 2, "base": "10ms", "jitter": 0},
    ) as system:
        await system.run("worker", Failing)
        alice = await system.run("alice")
        await alice.send("worker", "other", {})

        found = await until(lambda: letters(system))

    assert found["other"].attempts == 2


async def test_the_environment_says_how_often(system, monkeypatch):
    """AGENT_MAX_RETRIES counts what follows the first attempt."""
    monkeypatch.setenv("AGENT_MAX_RETRIES", "0")
    await system.run("worker", Failing)
    alice = await system.run("alice")
    await alice.send("worker", "other", {})

    found = await until(lambda: letters(system))

    assert found["other"].attempts == 1


async def due_in(system):
    """Milliseconds from its last failure until the one message comes that waits."""

    async def waiting():
        return await system.store.connection.call("ZRANGE", system.store.keys.later(0), 0, -1, "WITHSCORES")

    await until(waiting)
    (record,) = await system.audit(kind="delivery.retry")
    flat = await waiting()
    score = flat[0][1] if isinstance(flat[0], list | tuple) else flat[1]
    return float(score) - record.time


async def test_what_an_error_says_about_waiting_counts(system):
    """A circuit that is open for a minute is not asked again earlier."""

    class Downstream(Recorder):
        async def on_message(self, message):
            raise CircuitOpen("billing rests", retry_after=60.0)

    await system.run("worker", Downstream, retry=quick())
    alice = await system.run("alice")
    await alice.send("worker", "x", {})

    assert await due_in(system) == 60_000


async def test_a_wait_ends_with_the_time_to_live(system):
    """What would expire before it is a dead letter as soon as it has."""
    await system.run("worker", Failing, retry=RetryPolicy(strategy="fixed", base=3600, max_delay=3600))
    alice = await system.run("alice")
    await alice.send("worker", "other", {}, ttl=0.5)

    found = await until(lambda: letters(system))

    assert (found["other"].code, found["other"].attempts) == ("expired", 2)


async def test_no_attempt_begins_after_the_time_of_the_policy(system):
    """Though there would be attempts left."""
    await system.run("worker", Failing, retry=quick(attempts=100, max_elapsed=0.005))
    alice = await system.run("alice")
    await alice.send("worker", "other", {})

    found = await until(lambda: letters(system))

    assert (found["other"].code, found["other"].attempts) == ("handler_failed", 1)


HOSTILE = [
    {"attempts": 10**9},
    {"attempts": 0},
    {"base_ms": 0},
    {"base_ms": -5},
    {"max_ms": 10**15},
    {"factor": 10**30},
    {"jitter": -1},
    {"strategy": "forever"},
    {"max_elapsed_ms": -1},
    {"attempts": "3"},
    {"more": 1},
    [],
    "x",
]


async def test_a_hostile_policy_is_refused_and_the_message_stays(system):
    """Out of bounds, of a wrong type, with more fields: nothing is retried, lost or delivered by it."""
    gate = asyncio.Event()

    class Holding(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            await gate.wait()

    worker = await system.run("worker", Holding)
    alice = await system.run("alice")
    await alice.send("worker", "x", {})
    await until(lambda: worker.messages)
    ((_, entries),) = await system.store.connection.call(
        "XREAD", "STREAMS", system.store.keys.inbox(0, "worker", "normal"), "0"
    )
    entry = entries[0][0].decode()
    words = {"lane": "normal", "entry": entry, "position": 0, "code": "x"}

    for terms in HOSTILE:
        with pytest.raises(InvalidPayload):
            await worker._started().tell(NACK, {**words, "retry": terms})
    with pytest.raises(InvalidPayload):
        await worker._started().tell(NACK, {**words, "wait_ms": 10**12})

    assert await system.store.connection.call("ZCARD", system.store.keys.later(0)) == 0
    assert await letters(system) == {}
    assert sum((await system.store.agent("worker").backlog()).values()) == 1
    gate.set()


async def test_saying_that_others_died_of_it_is_an_attempt_too(system):
    """An instance that hands a message back as poison, though nobody noted a start, cannot do so for ever."""
    handed_back = []

    async def hand_back(self, held):
        handed_back.append(held.delivery.attempt)
        await self._returns.hand_back(held, POISON, "it is not my fault", retryable=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatch, "_take", hand_back)
        await system.run("worker", retry=quick(attempts=4))
        alice = await system.run("alice")
        await alice.send("worker", "x", {})
        found = await until(lambda: letters(system))

    assert handed_back == [1, 2, 3, 4]
    assert (found["x"].code, found["x"].attempts) == ("poison", 4)


class Hanging(Recorder):
    """Never ends by itself."""

    ended = 0

    @Agent.on("hang", timeout=0.05)
    async def hang(self, message):
        await super().on_message(message)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1

    @Agent.on("stubborn", timeout=0.05)
    async def stubborn(self, message):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return {"late": True}

    @Agent.on("slow", timeout=0)
    async def slow(self, message):
        await asyncio.sleep(0.6)
        return {"slow": True}


async def test_r12_a_handler_that_hangs_is_ended_and_its_message_becomes_a_dead_letter(system):
    """After three attempts, each of which is in its history; meanwhile and afterwards others are handled."""
    worker = await system.run("worker", Hanging, max_in_flight=1)
    alice = await system.run("alice")
    await alice.send("worker", "hang", {})
    await alice.send("worker", "x", {"n": 1})

    await until(lambda: 1 in worker.numbers)
    found = await until(lambda: letters(system))

    facts = found["hang"]
    assert (facts.code, facts.attempts, worker.ended) == ("handler_timed_out", 3, 3)
    assert [(attempt.number, attempt.code) for attempt in facts.history] == [
        (number, "handler_timed_out") for number in (1, 2, 3)
    ]
    assert all(attempt.instance == worker.instance for attempt in facts.history)


async def test_a_request_to_a_handler_that_hangs_is_answered(system):
    """With an error; a handler that has no limit may take its time, and one that answers late is believed."""
    await system.run("worker", Hanging, handler_timeout=0.3)
    alice = await system.run("alice")

    with pytest.raises(AgentFailed) as failed:
        await alice.request("worker", "hang", {}, timeout=20)
    slow = await alice.request("worker", "slow", {}, timeout=20)
    late = await alice.request("worker", "stubborn", {}, timeout=20)

    assert failed.value.details["agent_code"] == "handler_timed_out"
    assert (slow.data, late.data) == ({"slow": True}, {"late": True})


async def test_stopping_while_a_handler_runs_out_of_time_ends_the_agent(system):
    """The limit of a handler does not swallow the word to stop."""
    worker = await system.run("worker", Hanging)
    alice = await system.run("alice")
    await alice.send("worker", "hang", {})
    await until(lambda: worker.messages)
    begun = time.monotonic()

    await worker.stop(drain_timeout=0.01)

    assert time.monotonic() - begun < 20
