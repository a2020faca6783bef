"""Messages that are sent together: in order, each with its own receipt, and once."""

import asyncio

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.model.decision import Decision
from mas_core.model.policy import Features


@pytest.fixture
async def system(any_url):
    """alice may talk to bob and to the splitter, which may talk to bob."""
    agents = ["alice", "bob", "splitter"]
    allow = [("alice", "bob"), ("alice", "splitter"), ("splitter", "bob")]
    async with live_system(any_url, agents=agents, allow=allow) as opened:
        yield opened


async def test_they_arrive_in_order_whatever_their_number(system):
    """More than fit into one frame keep their order and get a receipt each."""
    alice, bob = await system.run("alice"), await system.run("bob", Recorder)

    receipts = await alice.send_many("bob", "note", [{"n": number} for number in range(750)])

    await until(lambda: len(bob.messages) == 750)
    assert bob.numbers == list(range(750))
    assert len({receipt.message_id for receipt in receipts}) == 750
    assert all(receipt.decision is Decision.ALLOWED for receipt in receipts)


async def test_one_that_is_refused_takes_no_other_with_it(system):
    """The receipt at its place says what was refused; the rest arrives."""
    alice, bob = await system.run("alice"), await system.run("bob", Recorder)
    payloads = [{"n": 0}, {"n": 1, "card": "4111 1111 1111 1111"}, {"n": 2}]

    receipts = await alice.send_many("bob", "note", payloads)

    await until(lambda: len(bob.messages) == 2)
    assert [receipt.decision for receipt in receipts] == [
        Decision.ALLOWED, Decision.BLOCKED, Decision.ALLOWED,
    ]  # fmt: skip
    assert bob.numbers == [0, 2]


async def test_large_messages_are_spread_over_frames(system):
    """What is too much for one frame goes into several."""
    alice, bob = await system.run("alice"), await system.run("bob", Recorder)

    receipts = await alice.send_many(
        "bob", "note", [{"n": number, "text": "word " * 40_000} for number in range(5)]
    )

    await until(lambda: len(bob.messages) == 5)
    assert bob.numbers == list(range(5))
    assert all(receipt.is_delivered for receipt in receipts)


async def test_a_handler_that_runs_again_sends_nothing_twice(system):
    """Inside a handler the ids derive from the message being handled."""
    seen = []

    class Splitter(Agent):
        async def on_message(self, message):
            await self.send_many("bob", "part", [{"n": number} for number in range(3)])
            seen.append(message.message_id)
            if len(seen) == 1:
                raise RuntimeError

    alice, bob = await system.run("alice"), await system.run("bob", Recorder)
    await system.run("splitter", Splitter)
    await alice.send("splitter", "split", {})

    await until(lambda: len(seen) == 2)
    await until(lambda: len(bob.messages) >= 3)
    await alice.send("bob", "last", {"n": 99})
    await until(lambda: 99 in bob.numbers)
    assert bob.numbers == [0, 1, 2, 99]


async def test_where_signatures_are_wanted_they_are_given(system):
    """Also to those that several tasks sent together before anybody knew of it."""
    await system.change_policy(features=Features(message_signing=True))
    alice, bob = await system.run("alice"), await system.run("bob", Recorder)

    receipts = await asyncio.gather(
        *(alice.send_many("bob", "note", [{"n": number}, {"n": number}]) for number in range(5))
    )

    await until(lambda: len(bob.messages) == 10)
    assert all(receipt.is_delivered for pair in receipts for receipt in pair)


async def test_nothing_to_send_is_no_error(system):
    """No payloads, no receipts."""
    alice = await system.run("alice")

    assert await alice.send_many("bob", "note", []) == []
