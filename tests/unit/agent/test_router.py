"""How often the gateway is asked where a message may go, and what counts meanwhile."""

import msgspec
import pytest

from mas_core.agent import router as module
from mas_core.agent.router import Router
from mas_core.errors import CircuitOpen, Forbidden, MasError, RateLimited
from mas_core.model.message import AgentMessage
from mas_core.model.routing import Candidate, Candidates, RoutingRule


class Gateway:
    """Answers with two agents, as long as it is not asked too much."""

    def __init__(self):
        self.asked = 0
        self.refuses = False
        self.data = msgspec.to_builtins(
            Candidates("", RoutingRule(("capability:x",)), (Candidate("a"), Candidate("b")))
        )

    async def __call__(self, target, message_type, *, expects_reply):
        """One answer."""
        if self.refuses:
            raise RateLimited
        self.asked += 1
        return AgentMessage("gateway", "alice", "mas.ways_found", self.data)


@pytest.fixture
def gateway():
    return Gateway()


async def send(router, outcomes=(), message_id=""):
    """Send one message; whom it was tried with, and under which ids."""
    tried, outcomes = [], list(outcomes)

    async def attempt(agent_id, own_id):
        tried.append((agent_id, own_id))
        if outcomes and (error := outcomes.pop(0)):
            raise error

    try:
        await router.carry("capability:x", "t", {}, message_id, attempt)
    except MasError as error:
        tried.append(error.code)
    return tried


async def test_an_answer_counts_for_a_while_and_the_work_is_spread(gateway):
    """One question for many messages."""
    router = Router("alice", gateway)

    assert [(await send(router))[0][0] for _ in range(4)] == ["a", "b", "a", "b"]
    assert gateway.asked == 1


async def test_an_old_answer_is_better_than_none(gateway, monkeypatch):
    """When the gateway does not want to be asked again."""
    monkeypatch.setattr(module, "TOLD_FOR_S", -1)
    router = Router("alice", gateway)
    await send(router)
    gateway.refuses = True

    assert await send(router) == [("b", "")]
    with pytest.raises(RateLimited):
        await Router("bob", gateway).ways("capability:x", "t")


async def test_the_next_is_tried_once_under_its_own_id_and_only_where_the_first_did_not_get_it(gateway):
    """A denial is an answer."""
    router = Router("alice", gateway)

    first, second = await send(router, [CircuitOpen()], "own")
    assert (first, second[0]) == (("a", "own"), "b")
    assert second[1] not in {"own", ""}
    assert len(await send(router, [CircuitOpen(), CircuitOpen()])) == 3
    assert (await send(router, [Forbidden()]))[1:] == ["forbidden"]


async def test_an_answer_that_nobody_understands_is_an_error(gateway):
    """Not a crash in the middle of a sender."""
    gateway.data = {"agents": "many"}
    with pytest.raises(MasError, match="not known here"):
        await Router("alice", gateway).ways("capability:x", "t")
