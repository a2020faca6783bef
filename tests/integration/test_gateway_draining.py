"""Gateways are drained and resumed by operators; what is in hand ends with receipts."""

import asyncio

import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import Conflict, GatewayNotFound
from mas_core.ops import gateways
from mas_core.ops.status import status


async def test_a_drained_gateway_owns_nothing_until_it_resumes(server_url):
    """The other takes all; senders notice nothing; both orders are in the audit, with who and why."""
    async with live_system(
        server_url, agents=["alice", "bob"], allow=[("alice", "bob")], partitions=4, gateways=0
    ) as system:
        first = await system.start_gateway(gateway_id="first")
        await system.start_gateway(gateway_id="second")
        bob, alice = await system.run("bob"), await system.run("alice")

        async def is_shared():
            return sorted(await system.owners()) == ["first", "first", "second", "second"]

        async def second_has_all():
            return await system.owners() == ["second"] * 4

        await until(is_shared)
        (drained,) = await gateways.drain_gateways(system.system, ["first"], reason="new kernel", wait=10)
        for number in range(8):
            await alice.send("bob", "x", {"n": number})
        shown = {gateway.gateway_id: gateway.state for gateway in await system.system.gateways()}
        found = await status(system.system)

        assert (drained.state, drained.partitions) == ("drained", ())
        assert first.is_running
        await until(second_has_all)
        assert shown == {"first": "drained", "second": "serving"}
        assert "the gateway first is drained" in [problem.message for problem in found.problems]
        await gateways.resume_gateways(system.system, ["first"])
        await until(is_shared)
        await until(lambda: bob.numbers == list(range(8)))
        acts = {(record.type, record.reason) for record in await system.audit(kind="operator")}
        assert ("gateway.drain", "new kernel") in acts
        assert "gateway.resume" in {name for name, _ in acts}
        assert await system.audit_holds()


async def test_a_drain_order_holds_for_the_name(server_url):
    """Started again under it, the gateway owns nothing; an order to a name that was made up ends with it."""
    async with live_system(server_url, partitions=2, gateways=0) as system:
        other = await system.start_gateway()
        named = await system.start_gateway(gateway_id="named")
        await gateways.drain_gateways(system.system, ["named"], wait=10)
        await named.stop()
        named = await system.start_gateway(gateway_id="named")
        seen = [gateway.state for gateway in await system.system.gateways() if gateway.gateway_id == "named"]
        owners = await system.owners()
        await gateways.resume_gateways(system.system, ["named"])
        await gateways.drain_gateways(system.system, [other.gateway_id], wait=10)
        orders = await gateways.drain_orders(system.system)
        await other.stop()

        assert seen == ["drained"]
        assert "named" not in owners
        assert set(orders) == {other.gateway_id}
        assert await gateways.drain_orders(system.system) == {}

        async def named_has_all():
            return set(await system.owners()) == {"named"}

        await until(named_has_all)


async def test_the_last_gateway_is_drained_only_by_force(server_url):
    """Then messages wait, and come when it resumes."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        (gateway,) = system.gateways
        bob, alice = await system.run("bob"), await system.run("alice")
        with pytest.raises(Conflict, match="no gateway would be left"):
            await gateways.drain_gateways(system.system, [gateway.gateway_id])
        assert await gateways.drain_orders(system.system) == {}

        await gateways.drain_gateways(system.system, [gateway.gateway_id], force=True, wait=10)
        sending = asyncio.create_task(alice.send("bob", "x", {"n": 1}))
        found = await status(system.system)
        assert "all gateways are drained: messages wait" in [problem.message for problem in found.problems]
        assert not sending.done()
        await gateways.resume_gateways(system.system, [gateway.gateway_id])
        await sending

        await until(lambda: bob.numbers == [1])


async def test_an_order_without_the_gateways_mac_drains_nobody(server_url):
    """Who can write to the server is no operator."""
    async with live_system(server_url) as system:
        (gateway,) = system.gateways
        await system.store.gateways.put_drain_order(gateway.gateway_id, b"\0" * 32 + b'{"by":"eve","at":1}')
        before = await system.store.gateways.heartbeats()
        await system.store.gateways.tell_news()

        async def has_looked():
            return await system.store.gateways.heartbeats() != before

        await until(has_looked)
        assert [item.state for item in await system.system.gateways()] == ["serving"]
        assert await gateways.drain_orders(system.system) == {}


async def test_gateways_are_selected_by_name_host_or_all(server_url):
    """What does not run is told."""
    async with live_system(server_url, gateways=0) as system:
        for name in ("one", "two"):
            await system.start_gateway(gateway_id=name)
        (host,) = {gateway.host for gateway in await system.system.gateways()}

        assert await gateways.select_gateways(system.system, ["one"]) == ["one"]
        assert await gateways.select_gateways(system.system, hosts=[host]) == ["one", "two"]
        assert await gateways.select_gateways(system.system, everyone=True) == ["one", "two"]
        with pytest.raises(GatewayNotFound, match="no gateway three"):
            await gateways.select_gateways(system.system, ["three"])
        with pytest.raises(GatewayNotFound, match="no gateway runs on moon"):
            await gateways.select_gateways(system.system, hosts=["moon"])


async def test_a_gateway_tells_whether_it_finished_what_it_had(server_url):
    """With time enough it did; without any, what it had in hand is left to others."""
    async with live_system(server_url, gateways=0) as system:
        patient = await system.start_gateway()
        assert await patient.stop()
        hasty = await system.start_gateway()
        assert not await hasty.stop(within_s=0)
