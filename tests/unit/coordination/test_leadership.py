"""What a leader believes, when answers are lost, terms end at bad moments, and callbacks fail."""

import asyncio
from types import SimpleNamespace

import pytest

from mas_core.agent.leadership import Leadership
from mas_core.errors import AgentFailed, LeadershipLost, RequestTimedOut


class Gateway:
    """Answers a candidate as the test says; `asked` has what came."""

    agent_id = "ann"

    def __init__(self, answers=None, lease_ms=1000):
        self.answers = answers or {}
        self.lease_ms = lease_ms
        self.asked = []

    async def request(self, target, message_type, data, *, timeout, message_id):
        """The next answer to this verb, and success when there is none."""
        verb = message_type.partition(".")[2]
        self.asked.append(verb)
        left = self.answers.get(verb, [])
        answer = left.pop(0) if left else {}
        if isinstance(answer, Exception):
            if isinstance(answer, RequestTimedOut):
                await asyncio.sleep(timeout)
            raise answer
        elected = {"elected": True, "term": 1, "fence": "f", "expires_in_ms": self.lease_ms}
        return SimpleNamespace(data={**elected, **answer})


def not_leader():
    """The refusal of a renewal that comes too late."""
    return AgentFailed("not the leader", agent_code="not_leader")


async def test_an_answer_that_is_lost_costs_no_term():
    """A leader whose renewal is not answered asks again before its term ends."""
    gateway = Gateway({"renew": [RequestTimedOut("lost")]})
    async with Leadership(gateway, "g", lease=1):
        await asyncio.sleep(1.1)
    assert gateway.asked[-1] == "resign"


async def test_who_was_too_late_to_show_that_it_lives_campaigns_again():
    """An election that was over before it was noticed is no error."""
    gateway = Gateway({"campaign": [{"expires_in_ms": 100}], "renew": [not_leader()]})
    assert await Leadership(gateway, "g", lease=1).campaign(5)
    assert gateway.asked[:3] == ["campaign", "renew", "campaign"]


async def test_a_callback_that_fails_leads_nothing():
    """When what is called on election fails, the term is given up and not renewed any more."""

    def fail(leadership):
        raise RuntimeError("no")

    gateway = Gateway()
    leadership = Leadership(gateway, "g", lease=1, on_elected=fail)
    with pytest.raises(RuntimeError):
        await leadership.campaign()
    assert not leadership.is_leader
    assert gateway.asked == ["campaign", "resign"]
    assert leadership._renewing is None


async def test_what_is_called_on_loss_is_not_cut_short():
    """The end of the body waits for what was called, even where that fails."""
    called = []

    async def on_lost(leadership):
        await asyncio.sleep(0.01)
        called.append(leadership.term)
        raise RuntimeError("no")

    gateway = Gateway({"renew": [not_leader()]})
    with pytest.raises(LeadershipLost):
        async with Leadership(gateway, "g", lease=1, on_lost=on_lost):
            await asyncio.sleep(10)
    assert called == [1]


async def test_campaigning_as_leader_goes_on_with_one_renewal():
    """Whoever campaigns again does not leave a renewal behind that ends the term later."""
    gateway = Gateway()
    leadership = Leadership(gateway, "g", lease=300)
    await leadership.campaign()
    first = leadership._renewing
    await leadership.campaign()
    assert first.cancelled()
    await leadership.resign()
    assert len(asyncio.all_tasks()) == 1
