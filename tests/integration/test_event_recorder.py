"""Events through the gateway: what agents emit is kept once, by policy, and so is what happens to the system."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager, suppress

import pytest
from support.systems import Recorder, live_system

from mas_core import Agent
from mas_core.errors import AgentFailed, AgentNotFound, CircuitOpen, Forbidden, InvalidPayload
from mas_core.events.consumers import load_snapshot
from mas_core.events.query import EventQuery
from mas_core.events.store import EventStore
from mas_core.model.event import EventType
from mas_core.model.event_messages import RECORDER
from mas_core.model.policy import BreakerLimits, Features
from mas_core.ops import events, standings
from mas_core.ops.event_recorder import started_recorder
from mas_core.ops.event_sources import SystemEvents
from mas_core.ops.health import check
from mas_core.settings.private_files import write_token


@asynccontextmanager
async def recording(live, place, topics=(), told=lambda _: None):
    """The store of a recorder that runs within the block."""
    options = {
        "redis_url": live.system.target.url,
        "namespace": live.store.namespace,
        "partitions": live.store.partitions,
        "token": live.tokens[RECORDER],
    }
    async with EventStore(place) as store, started_recorder(store, topics, told, **options):
        yield store


async def kept(store, count, **wanted):
    """The events of the store, as soon as there are so many."""
    async with asyncio.timeout(20):
        while True:
            found = [event async for _, event in store.query(EventQuery(**wanted))]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


class Shop(Agent):
    """Emits an event for each order, from its handler."""

    runs = 0

    @Agent.on("order")
    async def order(self, message):
        Shop.runs += 1
        await self.emit(
            "order.created", {"n": message.data["n"]}, topic="orders.eu", extensions={"subject": "x"}
        )
        if Shop.runs == 1:
            raise RuntimeError("the first run fails after it has emitted")


async def test_what_agents_emit_is_kept_once(server_url, tmp_path):
    """With the authenticated sender as source and the server's time, also when its handler runs twice."""
    Shop.runs = 0
    async with live_system(
        server_url, agents=["shop", "alice", RECORDER], allow=[("alice", "shop"), ("shop", RECORDER)]
    ) as live:
        await live.run("shop", Shop)
        alice = await live.client("alice")
        async with recording(live, tmp_path / "e.sqlite") as store:
            await alice.send("shop", "order", {"n": 7})
            (event,) = await kept(store, 1)
            async with asyncio.timeout(20):
                while Shop.runs < 2:
                    await asyncio.sleep(0.02)
            await alice.send("shop", "order", {"n": 8})
            both = await kept(store, 2)
        receipt = next(record for record in await live.audit() if record.type == "order.created")

    assert (event.type, event.source, event.topic, event.data) == (
        "order.created",
        "shop",
        "orders.eu",
        {"n": 7},
    )
    assert event.extensions == {"subject": "x"}
    assert event.id == receipt.message_id
    assert abs(event.time - receipt.time) < 1_000
    assert [item.data["n"] for item in both] == [7, 8]


async def test_nobody_emits_past_the_policy_or_in_the_name_of_another(server_url, tmp_path):
    """Without a rule it is refused; what a payload claims does not count."""
    async with live_system(
        server_url, agents=["alice", "mallory", RECORDER], allow=[("mallory", RECORDER)]
    ) as live:
        alice, mallory = await live.client("alice"), await live.client("mallory")
        async with recording(live, tmp_path / "e.sqlite") as store:
            with pytest.raises(Forbidden):
                await alice.send(RECORDER, "order.created", {"n": 1})
            forged = {
                "specversion": "1.0",
                "id": "i1",
                "source": "alice",
                "type": "mas.agent.gone",
                "data": 1,
            }
            await mallory.send(RECORDER, "order.created", forged)
            await mallory.send(RECORDER, "order.created", {"plain": True})
            with pytest.raises(AgentFailed, match="RFC 3339"):
                await mallory.request(RECORDER, "order.created", {"specversion": "1.0", "time": "never"})
            found = await kept(store, 2)

    assert [(item.source, item.type, item.data) for item in found] == [
        ("mallory", "order.created", 1),
        ("mallory", "order.created", {"plain": True}),
    ]


async def test_e5_what_came_while_no_recorder_ran_is_kept_after_its_start(server_url, tmp_path):
    """It waits in the queue; asking for an answer gives the number of the event."""
    async with live_system(server_url, agents=["alice", RECORDER], allow=[("alice", RECORDER)]) as live:
        alice = await live.client("alice")
        for number in range(3):
            await alice.send(RECORDER, "early", {"n": number})
        async with recording(live, tmp_path / "e.sqlite") as store:
            assert [event.data["n"] for event in await kept(store, 3)] == [0, 1, 2]
            assert (await alice.request(RECORDER, "late", {})).data == {"seq": 4}


async def test_what_is_published_to_topics_is_kept_too(server_url, tmp_path):
    """From the beginning of their logs, under their names, each once, also over a restart of the recorder."""
    async with live_system(server_url, agents=["shop", RECORDER]) as live:
        await live.allow(("shop", "topic:orders.>"), action="publish")
        await live.allow((RECORDER, "topic:orders.>"), action="subscribe")
        shop = await live.run("shop")
        await shop.publish("orders.eu", {"n": 0}, message_type="order.created")
        async with recording(live, tmp_path / "e.sqlite", ["orders.*", "orders.us.>"]) as store:
            await kept(store, 1)
            await shop.publish("orders.us.west", {"n": 1}, message_type="order.created")
            await kept(store, 2)
        await shop.publish("orders.eu", {"n": 2}, message_type="order.paid")
        async with recording(live, tmp_path / "e.sqlite", ["orders.*", "orders.us.>"]) as store:
            found = await kept(store, 3)

    assert [(item.topic, item.type, item.source, item.data) for item in found] == [
        ("orders.eu", "order.created", "shop", {"n": 0}),
        ("orders.us.west", "order.created", "shop", {"n": 1}),
        ("orders.eu", "order.paid", "shop", {"n": 2}),
    ]


async def test_a_topic_that_may_not_be_read_stops_nothing_else(server_url, tmp_path):
    """What is emitted is kept, and what is missing is told with the command that helps."""
    told = []
    async with live_system(server_url, agents=["alice", RECORDER], allow=[("alice", RECORDER)]) as live:
        alice = await live.client("alice")
        async with recording(live, tmp_path / "e.sqlite", ["orders.>"], told.append) as store:
            await alice.send(RECORDER, "x", {})
            await kept(store, 1)

    assert "no topic is kept" in told[0].message
    assert any("--action subscribe" in line for line in told[0].hint)


async def test_what_happens_to_the_system_becomes_events_once(server_url, tmp_path, monkeypatch):
    """G4: agents that start, end, fall ill and recover; after a restart nothing comes twice."""
    monkeypatch.setattr(check, "HOLDS_S", 0.0)
    async with live_system(server_url, agents=["worker"]) as live:
        place = tmp_path / "e.sqlite"
        async with EventStore(place) as store, watching(live, store):
            await remembered(store, "mas.audit", b"after")
            worker = live.agent("worker", Recorder)
            await worker.start()
            (started,) = await kept(store, 1, type=EventType.AGENT_STARTED)
            await remembered(store, "mas.health", b'"running":["worker"]')
            await worker.stop()
            (stopped,) = await kept(store, 1, type=EventType.AGENT_STOPPED)
            (gone,) = await kept(store, 1, type=EventType.AGENT_GONE)
            await standings.set_standing(
                live.system, ["worker"], "quarantined", reason="it misbehaves", wait=0
            )
            (ill,) = await kept(store, 1, type=EventType.AGENT_UNHEALTHY)
        async with EventStore(place) as store, watching(live, store):
            await standings.set_standing(live.system, ["worker"], "active", wait=0)
            (well,) = await kept(store, 1, type=EventType.AGENT_RECOVERED)
            everything = [event.type async for _, event in store.query(EventQuery(type="mas.agent.>"))]

    told = (started, stopped, gone, ill, well)
    assert [event.data.get("agent") for event in told] == ["worker"] * 5
    assert ill.data["status"] == "warn"
    assert "misbehaves" in ill.data["reason"]
    assert sorted(everything) == sorted(event.type for event in told)


async def test_circuits_and_dead_letters_become_events(server_url, tmp_path):
    """With who sent what to whom, and why."""
    async with live_system(server_url, agents=["alice", "worker"], allow=[("alice", "worker")]) as live:
        await live.change_policy(
            features=Features(circuit_breaker=True),
            default_breaker=BreakerLimits(failures=3, timeout_ms=60_000, jitter=0),
        )
        alice = await live.client("alice")
        await live.run("worker", Broken)
        async with EventStore(tmp_path / "e.sqlite") as store, watching(live, store):
            await remembered(store, "mas.audit", b"after")
            await alice.send("worker", "bad", {})
            (dead,) = await kept(store, 1, type=EventType.MESSAGE_DEAD)
            with suppress(CircuitOpen):
                for _ in range(3):
                    await alice.send("worker", "work", {})
            (opened,) = await kept(store, 1, type=EventType.BREAKER_OPENED)

    assert opened.data["target"] == "worker"
    assert (dead.data["sender"], dead.data["target"], dead.data["type"]) == ("alice", "worker", "bad")


class Broken(Agent):
    """Fails at everything."""

    async def on_message(self, message):
        if message.message_type == "bad":
            raise InvalidPayload("no")
        raise ArithmeticError("no")


async def remembered(store, name, text):
    """Wait until a watcher has kept this of what it knows."""
    async with asyncio.timeout(20):
        while text not in (await load_snapshot(store, name))[1]:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def watching(live, store):
    """Keep what happens to a system within the block."""
    task = asyncio.create_task(SystemEvents(live.system, store, look_s=0.05).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_replay_sends_kept_events_to_an_agent(server_url, tmp_path):
    """As messages of their types through the gateway; what is refused is told, and the rest goes on."""
    async with live_system(
        server_url, agents=["alice", "billing", RECORDER], allow=[("alice", RECORDER)]
    ) as live:
        await live.allow(("alice", "billing"), type="order.*")
        alice, billing = await live.client("alice"), await live.run("billing")
        async with recording(live, tmp_path / "e.sqlite") as store:
            for kind in ("order.created", "refund.created", "order.paid"):
                await alice.send(RECORDER, kind, {"n": kind})
            await kept(store, 3)
            found = [
                (item.stored.seq, item.error and item.error.code)
                async for item in _replayed(live, alice, store)
            ]
        async with asyncio.timeout(20):
            while len(billing.messages) < 2:
                await asyncio.sleep(0.02)

    assert found == [(1, None), (2, "forbidden"), (3, None)]
    assert [(item.message_type, item.data["source"], item.data["data"]) for item in billing.messages] == [
        ("order.created", "alice", {"n": "order.created"}),
        ("order.paid", "alice", {"n": "order.paid"}),
    ]


async def _replayed(live, client, store):
    async for stored in events.replay(store, EventQuery()):
        yield await events._replayed(client, stored, "billing")


async def test_without_a_recorder_emitting_says_what_to_do(server_url, tmp_path):
    """In words, with the command that starts one."""
    async with live_system(server_url, agents=["operator"], allow=[("operator", "*")]) as live:
        write_token(tmp_path, "operator", live.tokens["operator"])
        live.system.target = dataclasses.replace(live.system.target, tokens_dir=tmp_path)
        with pytest.raises(AgentNotFound) as told:
            await events.emit(live.system, "order.created", {})

    assert "mas event record" in told.value.hint[0]
