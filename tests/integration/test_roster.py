"""What a gateway knows of registered agents, and how much it reads to keep it so."""

from __future__ import annotations

import pytest
from support.systems import live_system

from mas_core.errors import TokenRevoked
from mas_core.ops import agents
from mas_core.registry.roster import Roster


class Watched(Roster):
    """Counts the agents that it reads."""

    def __init__(self, system):
        super().__init__(system.store.records, system.keys, system.store.partitions)
        self.read: list[str] = []
        entries = self._registry.entries

        async def watched(names):
            self.read += names
            return await entries(names)

        self._registry.entries = watched

    async def read_now(self) -> list[str]:
        """The agents that a refresh reads."""
        self.read.clear()
        await self.refresh()
        return self.read


@pytest.fixture(params=[1, 3])
async def system(request, server_url):
    """A system with three agents, in one partition or in several."""
    async with live_system(
        server_url, agents=["alice", "bob", "carol"], allow=[("alice", "*")], partitions=request.param
    ) as running:
        yield running


async def test_only_what_changed_is_read_again(system):
    """The first refresh reads all; after that each change costs one agent, and no change none."""
    roster = Watched(system)

    assert await roster.read_now() == ["alice", "bob", "carol"]
    assert await roster.read_now() == []
    await agents.rotate_token(system.system, "bob")
    assert await roster.read_now() == ["bob"]
    await system.change_policy(dlp_actions={"email": "off"})
    assert await roster.read_now() == []


async def test_a_refresh_sees_all_that_was_written_before_it(system):
    """New agents, revoked keys and agents that are gone."""
    roster = Watched(system)
    await roster.refresh()

    await system.register("dave")
    await agents.revoke_token(system.system, "alice")
    await agents.deregister(system.system, "carol")
    await roster.refresh()

    assert sorted(roster.registrations) == ["alice", "bob", "dave"]
    assert all(key.revoked for key in roster.registrations["alice"].keys)


async def test_instances_come_and_go(system):
    """Who runs and with which capabilities is known after a refresh, whichever gateway was told."""
    roster = Watched(system)
    bob = await system.run("bob", capabilities=["math", "text"])
    await system.run("carol", capabilities=["math"])
    await roster.refresh()

    def found(*names, match_all=False):
        return [entry.agent_id for entry in roster.candidates(names, match_all=match_all)]

    assert found() == found("math") == ["bob", "carol"]
    assert found("math", "text") == ["bob", "carol"]
    assert found("math", "text", match_all=True) == found("text") == ["bob"]
    assert found("cooking") == []

    await bob.stop()
    await roster.refresh()

    assert found() == found("math") == ["carol"]
    assert {entry.agent_id for part in range(system.store.partitions) for entry in roster.attached(part)} == {
        "carol"
    }


@pytest.mark.parametrize("command", ["DEL", "XTRIM"])
async def test_a_log_that_does_not_reach_back_makes_it_read_all(system, command):
    """Whoever slept for too long, or lost the log, starts over; agents that are gone are gone."""
    roster = Watched(system)
    await roster.refresh()
    await agents.deregister(system.system, "carol")
    await system.register("dave")
    for partition in range(system.store.partitions):
        key = system.store.keys.changed_agents(partition)
        await system.store.connection.call(command, key, *(("MAXLEN", 0) if command == "XTRIM" else ()))

    await roster.refresh()

    assert sorted(roster.registrations) == ["alice", "bob", "dave"]


@pytest.mark.parametrize(
    "spoil", [("SET", "x"), ("XADD", "18446744073709551615-18446744073709551615", "a", "zoe")]
)
async def test_a_log_that_takes_no_entries_stops_nobody(system, spoil):
    """Whoever spoils it cannot keep agents from starting, nor itself from being revoked."""
    alice = await system.client("alice")
    await system.run("bob")
    for partition in range(system.store.partitions):
        key = system.store.keys.changed_agents(partition)
        await system.store.connection.call("DEL", key)
        await system.store.connection.call(spoil[0], key, *spoil[1:])

    await system.change_policy(dlp_actions={"email": "off"})
    await system.register("dave")
    await system.run("dave")
    assert (await alice.send("dave", "x")).is_delivered
    await agents.revoke_token(system.system, "alice")

    with pytest.raises(TokenRevoked):
        await alice.send("bob", "x")


async def test_a_refresh_that_fails_is_made_up_for(system):
    """What could not be read is read by the next refresh."""
    roster = Watched(system)
    await roster.refresh()
    await agents.rotate_token(system.system, "bob")
    entries = roster._registry.entries

    async def fail(names):
        raise ConnectionError

    roster._registry.entries = fail
    with pytest.raises(ConnectionError):
        await roster.refresh()
    roster._registry.entries = entries

    assert await roster.read_now() == ["bob"]


async def test_many_agents_are_registered_with_one_change(system):
    """All of them or, when one is there already, none; and gone again at once."""
    names = [f"worker-{number}" for number in range(1500)]
    roster = Watched(system)
    await roster.refresh()
    before = await system.store.records.metas()

    tokens = await agents.register_many(system.system, names)

    after = await system.store.records.metas()
    assert [int(meta["policy_revision"]) for meta in after] == [
        int(meta["policy_revision"]) + 1 for meta in before
    ]
    assert sorted(await roster.read_now()) == sorted(names)
    system.tokens |= tokens
    assert (await (await system.client("alice")).send("worker-7", "x")).is_delivered
    with pytest.raises(agents.AlreadyRegistered):
        await agents.register_many(system.system, ["new", "worker-3"])
    await agents.deregister_many(system.system, names)
    await roster.refresh()
    assert sorted(roster.registrations) == ["alice", "bob", "carol"]
