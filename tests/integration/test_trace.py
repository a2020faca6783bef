"""The story of a message, from its audit records."""

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core import Agent
from mas_core.errors import MessageNotFound
from mas_core.ops.trace import trace


class Asker(Agent):
    """Passes on what it is told, in two messages and a request, and answers."""

    @Agent.on("plan")
    async def plan(self, message):
        await self.send("bob", "step.one", {"n": 1})
        answer = await self.request("bob", "step.two", {"n": 2})
        return {"got": answer.data}


class Worker(Agent):
    @Agent.on("step.two")
    async def two(self, message):
        return {"two": 2}

    @Agent.on("step.bad")
    async def bad(self, message):
        raise ArithmeticError("no")

    async def on_message(self, message):
        """Take the rest."""


@pytest.fixture
async def system(server_url):
    """alice asks ann, ann asks bob."""
    pairs = [("alice", "ann"), ("ann", "bob"), ("alice", "bob")]
    async with live_system(server_url, agents=["alice", "ann", "bob"], allow=pairs) as opened:
        yield opened


async def test_a_request_with_what_its_handler_sent(system):
    """Decision, children in their order, replies of both, from either end."""
    await system.run("ann", Asker)
    await system.run("bob", Worker)
    alice = await system.run("alice")
    reply = await alice.request("ann", "plan", {})

    asked = next(item for item in await system.audit(type="plan"))
    found = await trace(system.system, asked.message_id)

    assert (found.sender, found.target, found.type, found.status) == ("alice", "ann", "plan", "answered")
    assert [(hop.type, hop.status) for hop in found.children] == [
        ("step.one", "delivered"),
        ("step.two", "answered"),
    ]
    assert [hop.type for hop in found.children[1].replies] == ["step.two.reply"]
    assert [hop.id for hop in found.replies] == [reply.message_id]
    assert found.stages_us
    assert found.began <= found.decided <= found.children[0].decided <= found.ended
    assert await trace(system.system, reply.message_id) == found


async def test_an_error_a_refusal_and_a_dead_letter(system):
    """Each is told by its status and its reason."""
    await system.run("bob", Worker)
    alice = await system.run("alice")
    with pytest.raises(Exception, match="ArithmeticError"):
        await alice.request("bob", "step.bad", {})
    with pytest.raises(Exception, match="holds card"):
        await alice.send("bob", "x", {"card": "4111 1111 1111 1111"}, message_id="refused-one")
    await alice.send("bob", "step.bad", {}, message_id="dead-one")

    failed = next(item for item in await system.audit(type="step.bad") if item.message_id != "dead-one")
    assert (await trace(system.system, failed.message_id)).status == "failed"
    refused = await trace(system.system, "refused-one")
    assert (refused.status, [finding.rule for finding in refused.findings]) == ("refused", ["card"])

    async def is_dead():
        return (await trace(system.system, "dead-one")).status == "dead"

    await until(is_dead, 30)
    kinds = [event.kind for event in (await trace(system.system, "dead-one")).events]
    assert kinds[-1] == "delivery.dead"
    assert set(kinds[:-1]) <= {"delivery.retry"}


async def test_what_the_audit_does_not_know(system):
    """An error, as everywhere."""
    with pytest.raises(MessageNotFound):
        await trace(system.system, "nothing")
