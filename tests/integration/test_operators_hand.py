"""The operator's hand: pause, resume, drain, quarantine and evict, on agents that run."""

import asyncio

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import Backpressure, Quarantined, RequestTimedOut, TokenRevoked
from mas_core.model.policy import Rule
from mas_core.ops import agents
from mas_core.ops.standings import set_standing
from mas_core.security.policy_changes import add_rule


@pytest.fixture
async def system(any_url):
    """alice and bob may talk to each other."""
    async with live_system(
        any_url, agents=["alice", "bob"], allow=[("alice", "bob"), ("bob", "alice")]
    ) as opened:
        yield opened


class Slow(Recorder):
    """Handles a message when it is let."""

    gate = None

    async def on_message(self, message):
        await self.gate.wait()
        await super().on_message(message)


async def test_a_paused_agent_handles_nothing_and_gets_everything_afterwards(system):
    """In force when it returns, confirmed by each instance; messages wait and come in order."""
    alice, first, second = await system.run("alice"), await system.run("bob"), await system.run("bob")

    (report,) = await set_standing(system.system, ["bob"], "paused", reason="a look")
    for number in range(20):
        await alice.send("bob", "x", {"n": number})
    await first.send("alice", "x", {})
    (described,) = await agents.list_agents(system.system, status="paused")

    assert (report.is_done, report.instances, report.following, report.before) == (True, 2, 2, "active")
    assert (described.id, described.standing.reason, described.backlog) == ("bob", "a look", 20)
    assert first.messages == second.messages == []
    (resumed,) = await set_standing(system.system, ["bob"], "active")
    await until(lambda: len(first.messages) + len(second.messages) == 20)
    assert (resumed.is_done, resumed.before) == (True, "paused")
    assert sorted(first.numbers + second.numbers) == list(range(20))


async def test_what_was_read_before_the_pause_and_not_started_waits_too(system):
    """Only the handler that runs may finish."""
    alice = await system.run("alice")
    gate = asyncio.Event()
    bob = system.agent("bob", Slow, max_in_flight=1)
    bob.gate = gate
    await system.stack.enter_async_context(bob)
    for number in range(5):
        await alice.send("bob", "x", {"n": number})
    await until(lambda: bob._dispatch.in_hand > 1)

    (report,) = await set_standing(system.system, ["bob"], "paused")
    gate.set()
    await until(lambda: bob.numbers == [0])
    await asyncio.sleep(0.1)

    assert report.in_hand > 0
    assert bob.numbers == [0]
    await set_standing(system.system, ["bob"], "active")
    await until(lambda: bob.numbers == list(range(5)))


async def test_an_agent_that_starts_while_paused_starts_paused(system):
    """And a request to it waits for its time-out, no longer."""
    alice = await system.run("alice")
    await alice.send("bob", "x", {"n": 1})
    await set_standing(system.system, ["bob"], "paused")
    bob = await system.run("bob")

    with pytest.raises(RequestTimedOut):
        await alice.request("bob", "ask", {}, timeout=0.3)

    assert bob.messages == []
    await set_standing(system.system, ["bob"], "active")
    await until(lambda: bob.numbers[:1] == [1])


async def test_a_drained_agent_finishes_and_takes_nothing_new(system):
    """Drain returns when nothing is left; before that it says what is."""
    alice = await system.run("alice")
    gate = asyncio.Event()
    bob = system.agent("bob", Slow)
    bob.gate = gate
    await system.stack.enter_async_context(bob)
    await alice.send("bob", "x", {"n": 1})

    (early,) = await set_standing(system.system, ["bob"], "draining", reason="new version", wait=2)
    with pytest.raises(Backpressure, match="bob is draining and takes nothing new: new version") as caught:
        await alice.send("bob", "x", {"n": 2})
    await bob.send("alice", "x", {})
    gate.set()
    (late,) = await set_standing(system.system, ["bob"], "draining", reason="new version")

    assert (early.is_done, early.backlog, early.following) == (False, 1, 1)
    assert early.problem == "1 of its messages are not finished"
    assert (late.is_done, late.backlog, late.before) == (True, 0, "draining")
    assert caught.value.hint == ("mas agent describe bob", "mas agent resume bob")
    assert bob.numbers == [1]


async def test_nothing_passes_from_or_to_a_quarantined_agent(system):
    """Whatever rules say; replies, discovery and what it has in its inbox included; its token stays."""
    alice, bob = await system.run("alice"), await system.run("bob")
    await system.system.policy.change(lambda document: add_rule(document, Rule("", "allow", "*", "*")))

    await set_standing(system.system, ["bob"], "quarantined", reason="sends to strangers")
    for sender, target in ((alice, "bob"), (bob, "alice")):
        with pytest.raises(Quarantined, match="bob is quarantined: sends to strangers"):
            await sender.send(target, "x", {}, message_id=f"chosen-{sender.id}")
    with pytest.raises(Quarantined):
        await bob.discover()
    seen = await alice.discover()

    assert [item["id"] for item in seen] == ["alice"]
    assert len(await system.audit(decision="quarantined", kind="message")) == 2
    (entry,) = await system.system.registry.entries(["bob"])
    assert [key.revoked for key in entry.registration.keys] == [0]
    assert [item.standing for item in entry.instances] == ["quarantined"]
    await set_standing(system.system, ["bob"], "active")
    await alice.send("bob", "x", {"n": 7}, message_id="chosen-alice")
    await until(lambda: bob.numbers == [7])


async def test_a_quarantined_agent_cannot_answer_what_it_was_asked_before(system):
    """A reply needs no rule, and is refused nevertheless."""
    alice = await system.run("alice")
    gate = asyncio.Event()
    bob = system.agent("bob", Slow)
    bob.gate = gate
    await system.stack.enter_async_context(bob)
    asking = asyncio.create_task(alice.request("bob", "ask", {}, timeout=1))
    await until(lambda: bob._dispatch.in_hand)

    await set_standing(system.system, ["bob"], "quarantined")
    gate.set()

    with pytest.raises(RequestTimedOut):
        await asking


async def test_an_evicted_agent_ends_and_cannot_come_back(system):
    """Its instances stop, its tokens are revoked, a start fails; deregistering and registering begins anew."""
    alice, bob = await system.run("alice"), await system.run("bob")

    (report,) = await set_standing(system.system, ["bob"], "evicted", reason="token leaked")

    assert (report.is_done, report.instances) == (True, 0)
    await until(bob.evicted.is_set)
    with pytest.raises(Quarantined, match="bob has stopped for good: token leaked"):
        await bob.send("alice", "x", {})
    with pytest.raises(Quarantined, match="bob is evicted: token leaked"):
        await alice.send("bob", "x", {})
    with pytest.raises(TokenRevoked):
        await system.agent("bob").start()
    assert not await agents.ensure_registered(system.system, "bob", source="project")
    await agents.rotate_token(system.system, "bob", show=True)
    system.tokens["bob"] = (await agents.rotate_token(system.system, "bob", show=True)).token
    with pytest.raises(Quarantined, match="token leaked"):
        await system.agent("bob").start()
    await agents.deregister(system.system, "bob")
    await system.register("bob")
    again = await system.run("bob")
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: again.numbers == [1])


async def test_agents_of_every_partition_follow(server_url):
    """Whichever gateway owns theirs."""
    names = [f"agent-{number}" for number in range(6)]
    async with live_system(server_url, agents=names, partitions=3, gateways=2) as system:
        running = [await system.run(name) for name in names]

        reports = await set_standing(system.system, names, "paused")

        assert [(item.is_done, item.following) for item in reports] == [(True, 1)] * 6
        await set_standing(system.system, names, "evicted", reason="over")
        await until(lambda: all(agent.evicted.is_set() for agent in running))


async def test_an_instance_that_does_not_follow_is_told(system):
    """One that is deaf to the gateway's word: in force at the gateways, and not claimed to be more."""
    alice, bob = await system.run("alice"), await system.run("bob")
    bob._client.on_directive = None

    (report,) = await set_standing(system.system, ["bob"], "quarantined", wait=0.2)

    assert (report.is_done, report.instances, report.following) == (False, 1, 0)
    assert report.problem == "1 of its 1 instances have not confirmed it"
    with pytest.raises(Quarantined):
        await alice.send("bob", "x", {})


async def test_a_standing_survives_gateways_and_is_in_the_history(system):
    """Another gateway finds it in the policy; who, when and why are kept."""
    bob = await system.run("bob")
    await set_standing(system.system, ["bob"], "quarantined", reason="evidence")
    for gateway in system.gateways:
        await gateway.stop()
    await system.start_gateway()
    alice = await system.run("alice")

    with pytest.raises(Quarantined):
        await alice.send("bob", "x", {})

    policy = await system.system.policy.load()
    assert policy.change == "quarantined: bob: evidence"
    assert policy.changed_by == system.system.actor
    assert policy.standings["bob"].since > 0
    assert bob.messages == []


async def test_a_retry_for_a_quarantined_agent_is_kept_as_a_dead_letter(system):
    """It is not delivered, and not lost."""

    class Failing(Recorder):
        async def on_message(self, message):
            raise ArithmeticError

    alice = await system.run("alice")
    await system.run("bob", Failing)
    await alice.send("bob", "x", {})
    await until(lambda: system.audit(kind="delivery.retry"))
    await set_standing(system.system, ["bob"], "quarantined")

    (record,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert record.reason == "bob was quarantined before the next attempt"
    assert await system.store.records.dead_letters() == 1
