"""Heartbeats that are forged, late, or of a life that has ended (S39)."""

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import Forbidden
from mas_core.registry import registry
from mas_core.store.records import Records


@pytest.fixture
async def system(any_url):
    """alice may talk to bob."""
    async with live_system(any_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


async def instances(system, agent_id="bob"):
    (entry,) = await system.system.registry.entries([agent_id])
    return {item.instance: item for item in entry.instances}


async def test_s39_a_heartbeat_for_another_agent_counts_for_its_sender(system):
    """Who beats is who sealed the frame; nothing in the message can say otherwise."""
    bob, alice = await system.run("bob"), await system.run("alice")
    before = (await instances(system))[bob.instance]

    with pytest.raises(Exception, match="cannot read"):
        await alice._client.tell("mas.beat", {"agent": "bob", "instance": bob.instance, "in_hand": 77})
    await alice._client.tell("mas.beat", {"in_hand": 77, "incarnation": alice._incarnation})

    assert (await instances(system))[bob.instance] == before
    assert (await instances(system, "alice"))[alice.instance].in_hand == 77


async def test_s39_a_heartbeat_begins_no_life(system):
    """An instance that never attached, or that was ended, is not brought back by one; it is recorded."""
    bob = await system.client("bob")

    with pytest.raises(Forbidden) as caught:
        await bob.tell("mas.beat", {"in_hand": 1})

    assert caught.value.details["rule"] == "incarnation"
    assert await instances(system) == {}
    (record,) = await system.audit(kind="agent.beat")
    assert (record.decision, record.sender) == ("denied", "bob")


async def test_s39_an_expired_instance_is_not_resurrected_by_a_late_heartbeat(system, monkeypatch):
    """Its time ended; only attaching anew, which is recorded, begins another."""
    from mas_core.gateway import presence

    bob = await system.run("bob")
    for module in (registry, presence):
        monkeypatch.setattr(module, "REGISTRATION_EXPIRY_MS", -1)

    with pytest.raises(Forbidden, match="may not send"):
        await bob._heartbeat._say("mas.beat", 5)
    monkeypatch.undo()
    await bob._heartbeat._begin_again()

    assert len(await system.audit(kind="agent.attach")) == 1
    assert bob.instance in await instances(system)


async def test_s39_a_heartbeat_of_an_earlier_life_is_refused(system):
    """The number of the incarnation is checked."""
    bob = await system.run("bob")
    before = (await instances(system))[bob.instance]

    for number in (0, bob._incarnation - 1, bob._incarnation + 1):
        with pytest.raises(Forbidden):
            await bob._client.tell("mas.beat", {"incarnation": number, "in_hand": 9})

    assert (await instances(system))[bob.instance] == before


async def test_s39_an_instance_that_was_replaced_stops_for_good(system):
    """A process that slept while a younger one took its place: its heartbeat is refused, and it leaves."""
    old = await system.run("bob", slot="one", heartbeat_interval=0.2)
    await until(lambda: old._client.now_ms() > old._incarnation)
    young = await system.run("bob", slot="one")

    await until(old.evicted.is_set)

    assert list(await instances(system)) == [young.instance]
    with pytest.raises(RuntimeError, match="a younger instance has taken its place"):
        await old.send("alice", "x", {})


async def test_s39_a_status_that_the_gateway_did_not_write_does_not_exist(system):
    """Who can write into the server cannot make an agent look alive (no MAC)."""
    records = Records(system.store.connection, system.store.keys)
    await system.store.connection.call(
        "HSET", system.store.keys.agent(0, "bob"), "instance:00000000000000aa", b"\x00" * 32 + b"{}"
    )

    assert await instances(system) == {}
    assert b"instance:00000000000000aa" in {
        name.encode() for fields in await records.agents(["bob"]) for name in fields
    }
