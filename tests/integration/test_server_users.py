"""Users of the server: agents, gateways and auditors have the rights that they use, and no others."""

from __future__ import annotations

import pytest
from support.server_users import (
    client_as_itself,
    gateway_as_itself,
    recording,
    run_as_itself,
)
from support.servers import embedded_server
from support.systems import LiveSystem, live_system
from support.waiting import until

from mas_core import Agent, Supervisor
from mas_core.store import server_users as rules


@pytest.fixture
async def own_server():
    """A server of the test's own: users are its, and who turns the default one off turns it off for all."""
    async with embedded_server() as server:
        yield server


class Worker(Agent):
    """Does what agents do: answers, keeps state, fails, hears topics, takes tasks."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.heard = []

    @Agent.on("add")
    async def add(self, message):
        """The sum so far."""
        await self.update_state({"sum": self.state.get("sum", 0) + message.data["n"]})
        return {"sum": self.state["sum"]}

    @Agent.on("fail")
    async def fail(self, message):
        """Always."""
        raise ValueError("no")

    @Agent.subscribe("orders.*", durable=True)
    async def on_order(self, message):
        """Keep it."""
        self.heard.append(message.data["n"])

    @Agent.task("sum")
    async def sum(self, task, payload):
        """The sum."""
        return {"sum": sum(payload["numbers"])}


async def refused_to(running: LiveSystem) -> list[dict[str, object]]:
    """What the server refused to users of this system."""
    entries = await running.store.connection.call("ACL", "LOG", 128)
    found = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in entries]
    return [item for item in found if item[b"username"].startswith(running.store.namespace.encode())]


async def test_a_system_runs_with_users_that_may_do_only_what_they_do(own_server, monkeypatch):
    """Sends, requests, state, failures, claims, topics, tasks and leaders: the server refuses nothing of it."""
    async with live_system(own_server.url, agents=["boss", "worker"], gateways=0, partitions=2) as running:
        await running.allow(("boss", "worker"), ("worker", "boss"))
        await running.allow(("boss", "topic:orders.*"), action="publish")
        await running.allow(("worker", "topic:orders.*"), action="subscribe")
        await running.allow(("boss", "task:default"), action="assign")
        await running.allow(("worker", "task:default"), action="work")
        await running.allow(("worker", "leader:main"), action="lead")
        gateway = await gateway_as_itself(running)
        boss = await client_as_itself(running, "boss")
        with recording(gateway._store.connection, monkeypatch) as by_gateway:
            worker = await run_as_itself(running, "worker", Worker)
            with recording(worker._store.connection, monkeypatch) as by_agent:
                assert (await boss.request("worker", "add", {"n": 3})).data == {"sum": 3}
                assert (await boss.request("worker", "add", {"n": 4})).data == {"sum": 7}
                await boss.send("worker", "fail", {}, delivery="exactly_once")
                await boss.publish("orders.created", {"n": 1})
                await until(lambda: worker.heard == [1])
                desk = Supervisor(boss)
                assert await desk.result(await desk.assign("sum", {"numbers": [1, 2]})) == {"sum": 3}
                async with worker.leadership("main"):
                    await worker.update_state({"led": True})
                await until(lambda: running.audit(kind="delivery.dead"))
                second = await run_as_itself(running, "worker", Worker)
                await second.stop()
                await worker.stop()
        assert await refused_to(running) == []
        assert by_agent <= set(rules.AGENT_COMMANDS)
        assert by_gateway <= set(rules.GATEWAY_COMMANDS)
        assert await running.audit_holds()
        assert not await running.audit(kind="security")
