"""A system on a Cluster: every command finds the node of its keys, also while slots move and masters go."""

import asyncio
import signal

import pytest
from support.notaries import check_evidence, notary_of, signed_to
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.base.ids import partition_of
from mas_core.errors import ConfigurationError, StoreUnreachable
from mas_core.model.policy import Features
from mas_core.ops import (
    agents,
    approvals,
    audit,
    breakers,
    dead_letter_views,
    gateways,
    limits,
    partitions,
    schedule,
    standings,
    state,
    status,
)
from mas_core.ops.health.check import check_health
from mas_core.store.connection import Pipeline
from mas_core.store.store import Store

NAMES = ("bob", "dave", "erin", "frank", "grace", "heidi")


class Echo(Agent):
    """Answers with what it got."""

    async def on_message(self, message):
        return message.data


async def test_a_system_runs_on_all_masters(cluster):
    """Messages, requests, discovery of status and the signed audit, with partitions on each of three nodes."""
    allow = [("alice", name) for name in NAMES]
    async with (
        live_system(cluster.url, agents=["alice", *NAMES], allow=allow, partitions=6, gateways=2) as system,
        notary_of(system),
    ):
        masters = {cluster.master_of(system.store.keys.meta(number)).port for number in range(6)}
        assert len(masters) == 3
        receivers = [await system.run(name) for name in NAMES[:-1]]
        await system.run(NAMES[-1], Echo)
        alice = await system.run("alice")
        for number in range(3):
            await asyncio.gather(*(alice.send(one.id, "x", {"n": number}) for one in receivers))
        assert (await alice.request(NAMES[-1], "ask", {"n": 7}, timeout=20)).data == {"n": 7}
        for receiver in receivers:
            await until(lambda receiver=receiver: receiver.numbers == [0, 1, 2])
        found = await status.status(system.system)
        assert (len(found.server.nodes), found.server.append_only) == (3, "always")
        health = {item.name: item.status for item in (await check_health(system.system)).items}
        assert {health[name] for name in ("store", "agents", *(f"partition {n}" for n in range(6)))} == {"ok"}
        backlogs = (await system.store.runners.beat("run-1", lambda _now: b"{}", NAMES))[1]
        assert len(backlogs) == len(NAMES)
        assert await system.audit_holds()
        heads = await system.store.records.audit_heads()
        for partition, (seq, _) in enumerate(heads):
            if seq:
                await until(lambda seq=seq, number=partition: signed_to(system, seq, number), seconds=20)
        for partition, (seq, _) in enumerate(heads):
            assert len(check_evidence(system, partition)) >= seq


async def test_what_operators_ask_and_change_works_over_all_nodes(cluster):
    """Every noun that reads or writes several partitions, the change of their number, and a backup."""
    async with live_system(
        cluster.url, agents=["alice", *NAMES], allow=[("alice", "bob")], partitions=3, gateways=2
    ) as live:
        system = live.system
        await live.change_policy(features=Features(circuit_breaker=True))
        await live.run("bob")
        alice = await live.run("alice")
        await alice.send("bob", "x", {"n": 1})
        assert len((await partitions.list_partitions(system)).rows) == 3

        async def is_owned():
            return not (await gateways.gateways_status(system)).unowned

        await until(is_owned)
        assert {item.id for item in await agents.list_agents(system)} == {"alice", *NAMES}
        assert await limits.list_limits(system)
        await limits.reset(system, "alice")
        await breakers.open_circuit(system, "bob", reason="test")
        assert [item.target for item in await breakers.list_circuits(system)] == ["bob"]
        await breakers.reset_circuits(system, "bob")
        assert await approvals.list_waiting(system) == []
        assert await schedule.list_scheduled(system) == []
        assert await dead_letter_views.stats(system) == []
        assert (await check_health(system)).items is not None
        await standings.set_standing(system, ["dave"], "quarantined", reason="test")
        for name in NAMES:
            await state.set_part(system, name, "n", 1)
        assert len([item async for item in audit.records(system)]) > 10
        made = await partitions.set_partitions(system, 6)
        assert len((await partitions.list_partitions(system)).rows) == 6, made
        assert [(await live.store.agent(name).get_state())[0] for name in NAMES] == [1] * len(NAMES)
        await alice.send("bob", "x", {"n": 2})


async def test_a_url_of_one_node_is_enough(cluster):
    """A plain redis:// URL of a node leads to the whole Cluster."""
    host = cluster.url.rpartition("@")[2].partition(",")[0]
    password = cluster.url.partition("://")[2].partition("@")[0]
    async with Store(f"redis://{password}@{host}", namespace="plain", partitions=3) as store:
        for name in NAMES:
            assert await store.agent(name).set_state(None, b"{}") == (True, 1)
        assert len(await store.connection.run_everywhere("PING")) == 3
    async with Store(cluster.url, namespace="plain", partitions=3) as store:
        assert [(await store.agent(name).get_state())[0] for name in NAMES] == [1] * len(NAMES)


async def test_one_server_is_no_cluster(sentinels):
    """The URL of a Cluster that leads to a server alone says so."""
    url = f"redis+cluster://:of-the-group@127.0.0.1:{sentinels.primary.port}"
    async with Store(url) as store:
        with pytest.raises(ConfigurationError, match="is no node of a Cluster"):
            await store.ping()


async def test_commands_follow_a_slot_that_moves(cluster, own_namespace):
    """While it moves (ASK, TRYAGAIN) and after (MOVED), alone and in pipelines, scripts too; in order."""
    async with Store(cluster.url, namespace=own_namespace) as store:
        agent, other = store.agent("alice"), store.agent("bob")
        connection, key = store.connection, store.keys.state(0, "alice")
        await agent.set_state(None, b"{}")
        moving = cluster.migrate_slot(key)
        await asyncio.to_thread(moving.begin)
        assert await agent.set_state(1, b"{}") == (True, 2)
        # A key that is not there is asked for where the slot goes.
        assert await other.set_state(None, b"{}") == (True, 1)
        pipeline = Pipeline()
        for field in ("revision", "data"):
            pipeline.add("HGET", key, field)
            pipeline.add("HGET", store.keys.state(0, "bob"), field)
        assert await connection.run(pipeline) == [b"2", b"1", b"{}", b"{}"]
        await asyncio.to_thread(moving.move_keys)
        assert await connection.run(pipeline) == [b"2", b"1", b"{}", b"{}"]
        await asyncio.to_thread(moving.finish)
        assert await connection.run(pipeline) == [b"2", b"1", b"{}", b"{}"]
        assert await agent.set_state(2, b"{}") == (True, 3)
        await asyncio.to_thread(moving.move_back)
        assert await agent.set_state(3, b"{}") == (True, 4)


async def test_a_reading_of_several_partitions_waits_for_the_first_entry(cluster, own_namespace):
    """The nodes are looked at in turn; nothing new is told as nothing."""
    async with Store(cluster.url, namespace=own_namespace, partitions=6) as store:
        after = dict.fromkeys(range(6), 0)
        assert await store.records.new_audit_blocks(after, 50) == []
        reading = asyncio.create_task(store.records.new_audit_blocks(after, 20_000))
        await asyncio.sleep(0.05)
        await store.connection.call("XADD", store.keys.audit(4), "1-0", "r", "text")
        ((partition, block),) = await reading
        assert (partition, block.last_seq, block.text) == (4, 1, b"text")


async def test_a_node_that_is_gone_spoils_only_its_own_part(own_namespace, cluster):
    """A pipeline over several nodes says of each command whether it was carried out; later everything goes on."""
    async with Store(cluster.url, namespace=own_namespace, partitions=3) as store:
        keys = [store.keys.audit(number) for number in range(3)]
        victim = cluster.master_of(keys[1])
        await store.records.metas()
        victim.kill()
        pipeline = Pipeline()
        for key in keys:
            pipeline.add("XADD", key, "1-0", "r", "x")
        said = await store.connection.run_each(pipeline)
        with pytest.raises(StoreUnreachable) as caught:
            await store.connection.call("XLEN", keys[1])
        await asyncio.to_thread(cluster.wait_for_promotion, victim, 60)
        length = await until(lambda: _length(store, keys[1]), seconds=30)
        await asyncio.to_thread(cluster.restart, seconds=60)

        assert [said[0], said[2], isinstance(said[1], StoreUnreachable)] == [None, None, True]
        assert caught.value.retryable
        assert length == "0"


async def _length(store, key):
    try:
        return str(await store.connection.call("XLEN", key))
    except StoreUnreachable:
        return None


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_agents_and_gateways_go_on_after_a_master_was_killed(cluster):
    """Nothing has to be started again; what was sent meanwhile arrives, or its sender knows that it is unknown."""
    async with live_system(
        cluster.url, agents=["alice", *NAMES], allow=[("alice", name) for name in NAMES], partitions=3
    ) as system:
        receivers = [await system.run(name, Recorder) for name in NAMES]
        alice = await system.client("alice")
        victim = cluster.master_of(system.store.keys.meta(partition_of("bob", 3)))
        victim.kill()
        sending = [asyncio.create_task(alice.send(name, "x", {"n": 1}, timeout=60)) for name in NAMES]
        await asyncio.gather(*sending)
        await asyncio.to_thread(cluster.restart, seconds=60)
        for receiver in receivers:
            await until(lambda receiver=receiver: receiver.numbers == [1], seconds=30)
        assert await system.audit_holds()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_master_that_only_stands_still_is_left(cluster, own_namespace):
    """Its connections stay open and it answers nothing; the others say that it does not count any more."""
    async with Store(cluster.url, namespace=own_namespace, partitions=3) as store:
        agent = store.agent("bob")
        await agent.set_state(None, b"{}")
        victim = cluster.master_of(store.keys.state(agent.partition, "bob"))
        victim.signal(signal.SIGSTOP)
        try:
            asking = asyncio.create_task(agent.get_state())
            with pytest.raises(StoreUnreachable, match="closed the connection"):
                await asyncio.wait_for(asking, 8)
            state = await until(lambda: _state(agent), seconds=30)
        finally:
            victim.signal(signal.SIGCONT)
        await asyncio.to_thread(cluster.wait_until_whole, 60)

        assert state == (1, b"{}")


async def _state(agent):
    try:
        return await agent.get_state()
    except StoreUnreachable:
        return None
