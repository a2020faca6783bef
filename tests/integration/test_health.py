"""Health turns red when something stops moving although it is connected, and green when it moves again."""

import asyncio
import json
import signal
import socket
import sys

import pytest
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.gateway.owner import PartitionOwner
from mas_core.ops.health.check import check_health
from mas_core.ops.health.endpoint import Readiness, serving_health
from mas_core.ops.health.findings import judge
from mas_core.ops.health.observation import Expectations, observe
from mas_core.settings.health_settings import Address, HealthSettings

EXPECTED = Expectations("fast", settings=HealthSettings(agent_stuck_s=0.5, gateway_stuck_s=0.5))

AGENT = """
import asyncio, json, sys
from mas_core.agent import Agent

class Worker(Agent):
    async def on_message(self, message):
        pass

async def main():
    worker = Worker("worker", **json.loads(sys.stdin.readline()))
    await worker.start()
    print("ready", flush=True)
    await worker.wait()

asyncio.run(main())
"""


class Gated(Recorder):
    """Handles nothing until it is let."""

    gate = None

    async def on_message(self, message):
        await super().on_message(message)
        await self.gate.wait()


@pytest.fixture
async def live(server_url):
    """boss may send to worker."""
    async with live_system(server_url, agents=["boss", "worker"], allow=[("boss", "worker")]) as opened:
        yield opened


async def colours(live, name):
    """What the next look says of one thing; nothing when it is not worth a line."""
    report = judge(await observe(live.system), EXPECTED)
    return {item.status for item in report.items if item.name == name}


async def becomes(live, name, status, looks=100):
    """Look at most so many times, a fifth of a second apart, until a thing has this status."""
    for _ in range(looks):
        found = await colours(live, name)
        if status in found or (status == "ok" and not found):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"{name} did not become {status} in {looks} looks, but {found}")


@pytest.fixture
async def process(live):
    """The worker as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AGENT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    facts = {
        "redis_url": live.system.target.url,
        "namespace": live.store.namespace,
        "token": live.tokens["worker"],
    }
    process.stdin.write(json.dumps(facts).encode() + b"\n")
    assert await process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    await process.communicate()


async def test_a_stopped_process_with_a_backlog_is_red_until_it_goes_on(live, process):
    """Its connections are up and its heartbeat counts for a minute; only that nothing is settled tells."""
    boss = await live.client("boss")
    await boss.send("worker", "work", {})
    await becomes(live, "agent worker", "ok")

    process.send_signal(signal.SIGSTOP)
    await boss.send_many("worker", "work", [{"n": n} for n in range(5)])
    await becomes(live, "agent worker", "red")
    (entry,) = await live.system.registry.entries(["worker"])
    assert len(entry.running(await live.store.records.time_ms())) == 1

    process.send_signal(signal.SIGCONT)
    await becomes(live, "agent worker", "ok")


async def test_a_stuck_handler_is_red_and_an_idle_agent_is_not(live):
    """The instance reads, beats and answers; it settles nothing. The boss has nothing to do and is well."""
    Gated.gate = asyncio.Event()
    await live.run("worker", Gated)
    await live.run("boss")
    boss = await live.client("boss")
    await boss.send("worker", "work", {})

    await becomes(live, "agent worker", "red")
    assert await colours(live, "agent boss") == set()

    Gated.gate.set()
    await becomes(live, "agent worker", "ok")


async def test_an_agent_that_hands_everything_back_moves(live):
    """Failing is no standstill: what is handed back is moved by the gateway, and counts."""

    class Failing(Recorder):
        async def on_message(self, message):
            raise ArithmeticError("no")

    await live.run("worker", Failing)
    boss = await live.client("boss")
    await boss.send("worker", "work", {})

    async def moved():
        (work,) = await live.store.progress.agents(["worker"])
        return work.moved

    before = await until(moved)
    await boss.send("worker", "work", {})
    await until(lambda: _later(moved, before))
    (work,) = await live.store.progress.agents(["worker"])
    assert work.handled == 0


async def _later(moved, before):
    return await moved() > before


async def test_a_blocked_owner_is_red_although_it_keeps_its_lease(live, monkeypatch):
    """The gateway's heartbeat is fresh, its lease is renewed; that frames wait and the cursor stands tells."""
    boss = await live.client("boss")
    await boss.send("worker", "work", {})
    gate = asyncio.Event()
    judged = PartitionOwner._commit

    async def blocked(owner, batch):
        await gate.wait()
        await judged(owner, batch)

    monkeypatch.setattr(PartitionOwner, "_commit", blocked)
    sending = asyncio.create_task(boss.send("worker", "work", {}))

    await becomes(live, "partition 0", "red")
    (gateway,) = await live.system.gateways()
    assert gateway.partitions == (0,)
    assert await live.owners() == [gateway.gateway_id]

    gate.set()
    await sending
    await becomes(live, "partition 0", "ok")


@pytest.mark.slow
async def test_a_stopped_gateway_is_red_by_its_lease(server_url):
    """A whole process that stands still renews nothing, and answers nobody; when it goes on, all is well again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    async with live_system(server_url, gateways=0) as live:
        process = await live.spawn_gateway(health={"gateway": port})
        assert await colours(live, "partition 0") == {"ok"}
        assert (await get(port, "/health/ready"))[0] == 200

        process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get(port, "/health/live"), 0.5)
        await becomes(live, "partition 0", "red")
        await becomes(live, "gateways", "red")

        process.send_signal(signal.SIGCONT)
        await becomes(live, "partition 0", "ok")
        assert (await get(port, "/health/live"))[0] == 200


async def get(port, path):
    """Status and body of an answer in JSON."""
    status, body = await text_of(port, path)
    return status, json.loads(body)


async def text_of(port, path):
    """Status and body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split()[1]), body


async def test_the_endpoint_says_what_the_command_says(live):
    """/health is the system, /health/ready this process, /health/live that its loop runs."""
    ready = Readiness()
    async with serving_health(live.system.target, Address("127.0.0.1", 0), ready) as port:
        assert (await get(port, "/health/live"))[0] == 200
        assert (await get(port, "/health/ready"))[0] == 503
        status, body = await get(port, "/health")
        report = await check_health(live.system)

        # These tests run on a server of the profile fast, and a target says durable unless told otherwise.
        assert (status, body["status"], report.status) == (503, "red", "red")
        assert [item["name"] for item in body["items"]] == [item.name for item in report.items]
        assert body["items"][0]["fix"] == "redis-cli config set appendonly yes appendfsync always"
        ready.process = live.gateways[0].gateway_id
        assert (await get(port, "/health/ready"))[0] == 200
        status, text = await text_of(port, "/metrics")
        assert (status, b'\nmas_partition_owned{partition="0"} 1.0\n' in text) == (200, True)


async def test_the_endpoint_answers_while_the_store_does_not(live):
    """It is red with the store's name, and alive."""
    nowhere = type(live.system.target)("redis://127.0.0.1:1", keys_dir=live.system.target.keys_dir)
    ready = Readiness()
    ready.process = "me"
    async with serving_health(nowhere, Address("127.0.0.1", 0), ready) as port:
        status, body = await get(port, "/health")
        assert (status, [item["name"] for item in body["items"]]) == (503, ["store"])
        assert (await get(port, "/health/ready"))[0] == 503
        assert (await get(port, "/health/live"))[0] == 200
        status, text = await text_of(port, "/metrics")
        assert (status, b"\nmas_store_up 0.0\n" in text) == (200, True)
