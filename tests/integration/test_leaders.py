"""Leaders of groups on a real system: one at a time, terms that grow, and former leaders who are refused."""

from __future__ import annotations

import asyncio

import pytest
from support.systems import live_system

from mas_core.agent.leadership import Leadership
from mas_core.agent.resources import ask
from mas_core.errors import CoordinationRefused, Forbidden, InvalidIdentifier, LeadershipLost


async def test_leads_one_at_a_time(server_url: str) -> None:
    """The first candidate leads; the next one follows as soon as it resigns, in a later term."""
    async with live_system(server_url, agents=["one", "two"]) as live:
        await live.allow(("one", "leader:ledger"), ("two", "leader:*"), action="lead")
        first, second = await live.run("one"), await live.run("two")
        async with first.leadership("ledger", lease=3) as leading:
            assert leading.is_leader
            assert leading.term == 1
            assert not await second.leadership("ledger").campaign(timeout=0)
            following = second.leadership("ledger", lease=3)
            waiting = asyncio.create_task(following.campaign())
            await asyncio.sleep(0.1)
            assert not waiting.done()
        assert await waiting
        assert following.term == 2
        assert not leading.is_leader
        with pytest.raises(LeadershipLost):
            _ = leading.fence
        await following.resign()
        kinds = [record.kind for record in await live.audit(target="leader:ledger")]
        assert kinds.count("leader.elected") == 2
        assert kinds.count("leader.resigned") == 2
        outcomes = {record.details.get("outcome") for record in await live.audit(kind="message")}
        assert {"elected", "resigned", "candidate", "not_elected"} <= outcomes
        assert await live.audit_holds()


async def test_a_short_lease_lasts_for_whoever_waited(server_url: str) -> None:
    """The time in the queue is not taken from the term, also when the lease is shorter than the first moment."""
    async with live_system(server_url, agents=["one", "two"]) as live:
        await live.allow(("one", "leader:ledger"), ("two", "leader:ledger"), action="lead")
        first, second = await live.run("one"), await live.run("two")
        following = second.leadership("ledger", lease=1)
        async with first.leadership("ledger", lease=1):
            waiting = asyncio.create_task(following.campaign())
            await asyncio.sleep(0.8)
        assert await waiting
        await asyncio.sleep(0.4)
        assert following.is_leader
        await following.resign()


async def test_needs_permission_to_lead(server_url: str) -> None:
    """Without a rule nobody leads, a rule for agents gives nothing here, and observing is not leading."""
    async with live_system(server_url, agents=["one", "two"]) as live:
        await live.allow(("one", "*"))
        agent, other = await live.run("one"), await live.client("two")
        with pytest.raises(Forbidden) as refused:
            await agent.leadership("ledger").campaign(timeout=1)
        assert "mas rbac allow one leader:ledger --action lead" in refused.value.hint
        await live.allow(("two", "leader:>"), action="observe")
        assert (await ask(other, "leader", "ledger", "get"))["leader"] == ""
        with pytest.raises(Forbidden):
            await Leadership(other, "ledger").campaign(timeout=1)
        with pytest.raises(InvalidIdentifier):
            await ask(other, "leader", "no such", "get")


async def test_s36_refuses_what_a_former_leader_sends(server_url: str) -> None:
    """A leader that slept past its lease is refused by whoever has heard of its successor."""
    async with live_system(server_url, agents=["one", "two", "ledger"]) as live:
        await live.allow(("one", "leader:books"), ("two", "leader:books"))
        await live.allow(("one", "ledger"), ("two", "ledger"))
        first, second, ledger = await live.run("one"), await live.run("two"), await live.run("ledger")
        paused = first.leadership("books", lease=1)
        await paused.campaign()
        fence = paused.headers
        await first.send("ledger", "entry", {"n": 1}, headers=fence)
        await paused._stop_renewing()
        leading = second.leadership("books", lease=5)
        await leading.campaign()
        await second.send("ledger", "entry", {"n": 2}, headers=leading.headers)
        with pytest.raises(Forbidden) as refused:
            await first.send("ledger", "entry", {"n": 3}, headers=fence)
        assert refused.value.details["rule"] == "stale_term"
        with pytest.raises(Forbidden) as forged:
            await first.send("ledger", "entry", {"n": 4}, headers=leading.headers)
        assert forged.value.details["rule"] == "fence_invalid"
        with pytest.raises(CoordinationRefused) as late:
            await ask(await live.client("one"), "leader", "books", "renew", {"term": 1})
        assert late.value.details["agent_code"] == "not_leader"
        while len(ledger.messages) < 2:
            await asyncio.sleep(0.01)
        assert ledger.numbers == [1, 2]
        await leading.resign()


async def test_s36_a_former_leader_changes_no_state(server_url: str) -> None:
    """Instances of one agent share a state; the one that led before cannot change what the present leader has."""
    async with live_system(server_url, agents=["one"]) as live:
        await live.allow(("one", "leader:books"))
        paused, present = await live.run("one"), await live.run("one")
        first = paused.leadership("books", lease=60)
        await first.campaign()
        await paused.update_state({"n": 1}, leading=first)
        await ask(await live.client("one"), "leader", "books", "depose")
        second = present.leadership("books", lease=60)
        await second.campaign()
        await present.update_state({"n": 2}, leading=second)
        # It has not heard of its end.
        assert first.is_leader
        with pytest.raises(LeadershipLost):
            await paused.update_state({"n": 3}, leading=first)
        await present.refresh_state()
        assert present.state == {"n": 2}
