"""Servers and gateways go away and come back; nothing that was acknowledged is lost or doubled."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from support.servers import embedded_server
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.base.ids import partition_of
from mas_core.errors import Forbidden

PAIRS = [("alice", "bob")]


class Load:
    """Sends numbered messages for as long as it is told to; keeps what was acknowledged."""

    def __init__(self, sender, target, pause=0.002):
        self.acknowledged = []
        self._sender, self._target, self._pause = sender, target, pause
        self._stop = asyncio.Event()

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._send(lane)) for lane in range(4)]
        await until(lambda: len(self.acknowledged) > 20)
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _send(self, lane):
        number = lane
        while not self._stop.is_set():
            await self._sender.send(self._target, "x", {"n": number})
            self.acknowledged.append(number)
            number += 4
            await asyncio.sleep(self._pause)


async def all_handled(receiver, load):
    """Wait until everything acknowledged was handled, and check that nothing was handled twice."""
    await until(lambda: set(load.acknowledged) <= set(receiver.numbers), seconds=20)
    assert len(receiver.numbers) == len(set(receiver.numbers))


async def test_a_server_that_was_killed_loses_nothing_that_was_acknowledged():
    """Agent and gateway go on by themselves when it is back (R4)."""

    class Counting(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            await self.update_state({"count": self.state.get("count", 0) + 1})

    async with (
        embedded_server("durable") as server,
        live_system(server.url, agents=["alice", "bob"], allow=PAIRS) as system,
    ):
        bob = await system.run("bob", Counting)
        alice = await system.run("alice")
        async with Load(alice, "bob") as load:
            for _ in range(2):
                before = len(load.acknowledged)
                pid = server.pid
                os.kill(pid, signal.SIGKILL)
                await until(lambda pid=pid: server.pid not in (0, pid))
                await until(lambda before=before: len(load.acknowledged) > before + 20, seconds=15)

        await until(lambda: set(load.acknowledged) <= set(bob.numbers), seconds=20)

        async def is_settled():
            return sum((await system.store.agent("bob").backlog()).values()) == 0

        await until(is_settled)
        await bob.refresh_state()
        assert bob.state["count"] == len(set(bob.numbers))
        assert await system.audit_holds()


async def test_a_request_survives_a_restart_of_the_server():
    """Or fails in words: it never hangs."""

    class Echo(Agent):
        async def on_message(self, message):
            return message.data

    async with (
        embedded_server("durable") as server,
        live_system(server.url, agents=["alice", "bob"], allow=PAIRS) as system,
    ):
        await system.run("bob", Echo)
        alice = await system.run("alice")
        await alice.request("bob", "x", {"n": 0})
        os.kill(server.pid, signal.SIGKILL)

        assert (await alice.request("bob", "x", {"n": 1}, timeout=15)).data == {"n": 1}


async def test_two_gateways_share_the_partitions_and_one_takes_over(server_url):
    """kill -9 of one: the other owns all four, senders notice nothing but a pause."""
    names = [f"agent{number}" for number in range(12)]
    assert {partition_of(name, 4) for name in names} == {0, 1, 2, 3}
    async with live_system(
        server_url, agents=["alice", *names], allow=[("alice", "*")], partitions=4, gateways=0
    ) as system:
        first = await system.spawn_gateway()
        await system.spawn_gateway()

        async def is_shared():
            owners = await system.owners()
            return "" not in owners and sorted(owners.count(owner) for owner in set(owners)) == [2, 2]

        await until(is_shared)
        receivers = [await system.run(name) for name in names]
        alice = await system.run("alice")
        loads = [Load(alice, receiver.id, pause=0.01) for receiver in receivers]
        for load in loads:
            await load.__aenter__()

        first.kill()

        async def is_taken_over():
            owners = await system.owners()
            leases = [int(meta[b"lease".decode()]) for meta in await system.store.records.metas()]
            now = await system.store.connection.time_ms()
            return len(set(owners)) == 1 and all(lease > now for lease in leases)

        await until(is_taken_over)
        marks = [len(load.acknowledged) for load in loads]
        await until(
            lambda: all(len(load.acknowledged) > mark for load, mark in zip(loads, marks, strict=True))
        )
        for load in loads:
            await load.__aexit__()
        for receiver, load in zip(receivers, loads, strict=True):
            await all_handled(receiver, load)

        assert await system.audit_holds()


async def test_a_gateway_that_joins_gets_its_share_and_one_that_leaves_gives_it_up(server_url):
    """Without a pause that anybody notices."""
    async with live_system(
        server_url, agents=["alice", "bob"], allow=PAIRS, partitions=4, gateways=1
    ) as system:
        bob = await system.run("bob")
        alice = await system.run("alice")
        async with Load(alice, "bob") as load:
            joined = await system.start_gateway()

            async def is_shared():
                return (await system.owners()).count(joined.gateway_id) == 2

            await until(is_shared)
            await system.gateways[0].stop()

            async def has_all():
                return set(await system.owners()) == {joined.gateway_id}

            await until(has_all)
            mark = len(load.acknowledged)
            await until(lambda: len(load.acknowledged) > mark + 20)
        await all_handled(bob, load)
        assert await system.audit_holds()


async def test_a_gateway_that_slept_past_its_lease_changes_nothing(server_url):
    """Stopped under load and woken when another owns the partition: its commit is refused (R3)."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIRS, gateways=0) as system:
        sleeper = await system.spawn_gateway()
        (slept,) = await system.owners()
        bob = await system.run("bob")
        alice = await system.run("alice")
        async with Load(alice, "bob") as load:
            sleeper.send_signal(signal.SIGSTOP)
            await system.start_gateway()
            awake = system.gateways[0].gateway_id

            async def is_taken_over():
                return await system.owners() == [awake]

            await until(is_taken_over)
            mark = len(load.acknowledged)
            await until(lambda: len(load.acknowledged) > mark + 20)
            sleeper.send_signal(signal.SIGCONT)
            mark = len(load.acknowledged)
            await until(lambda: len(load.acknowledged) > mark + 300)
        await all_handled(bob, load)

        assert await system.owners() == [awake]
        by = [record.gateway for record in await system.audit()]
        assert set(by) == {slept, awake}
        assert by == sorted(by, key=lambda name: name == awake)
        assert await system.audit_holds()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
async def test_r3_what_a_gateway_decided_before_it_slept_is_never_carried_out(server_url):
    """Stopped right before a commit: what is in hand is decided anew, once (R3)."""

    class Echo(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            return message.data

    async with live_system(server_url, agents=["alice", "bob"], allow=PAIRS, gateways=0) as system:
        stops = {"MAS_TESTING": "1", "MAS_FAILPOINT": "gateway.before_commit:12=stop"}
        sleeper = await system.spawn_gateway(variables=stops)
        bob, alice = await system.run("bob", Echo), await system.run("alice")
        asking = [asyncio.create_task(alice.request("bob", "x", {"n": number})) for number in range(3)]
        asking.append(asyncio.create_task(alice.discover()))
        sent = []

        async def send():
            for number in range(3, 25):
                await alice.send("bob", "x", {"n": number})
                sent.append(number)

        sending = asyncio.create_task(send())
        await until(
            lambda: Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        )
        await system.start_gateway()
        awake = system.gateways[0].gateway_id
        await asyncio.gather(sending, *asking)
        await system.change_policy(rules=())
        records = len(await system.audit())
        sleeper.send_signal(signal.SIGCONT)
        await until(lambda: _beats(system, but=awake))
        with pytest.raises(Forbidden):
            await alice.send("bob", "x", {"n": 99})

        await until(lambda: set(bob.numbers) == set(range(25)))
        assert len(bob.numbers) == 25
        assert await system.owners() == [awake]
        assert {record.gateway for record in (await system.audit())[records:]} == {awake}
        delivered = [record.message_id for record in await system.audit(type="x", decision="allowed")]
        assert len(delivered) == len(set(delivered))
        assert await system.audit_holds()


async def _beats(system, but):
    """Whether another gateway than `but` says that it runs and owns nothing."""
    return [item for item in await system.system.gateways() if item.gateway_id != but and not item.partitions]


async def test_a_gateway_drains_when_it_is_asked_to_end(server_url):
    """SIGTERM: it gives its lease up, so the next owner need not wait for it; exit code 0."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIRS, gateways=0) as system:
        process = await system.spawn_gateway()
        bob = await system.run("bob")
        alice = await system.run("alice")
        async with Load(alice, "bob") as load:
            process.terminate()
            assert await process.wait() == 0
            assert await system.owners() == [""]
            await system.start_gateway()
            mark = len(load.acknowledged)
            await until(lambda: len(load.acknowledged) > mark + 20)
        await all_handled(bob, load)


async def test_messages_wait_for_a_gateway_to_come(server_url):
    """Sent while none runs: delivered once when one starts."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIRS) as system:
        bob = await system.run("bob")
        alice = await system.run("alice")
        await system.gateways[0].stop()

        sending = [asyncio.create_task(alice.send("bob", "x", {"n": number})) for number in range(20)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in sending)
        await system.start_gateway()
        await asyncio.gather(*sending)
        await until(lambda: len(bob.messages) >= 20)

        assert bob.numbers == list(range(20))


@pytest.mark.parametrize("lease_ms", [300])
async def test_a_lost_lease_is_taken_again(server_url, lease_ms):
    """A gateway whose lease was taken away by hand goes on as soon as it is free."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIRS, lease_ms=lease_ms) as system:
        bob = await system.run("bob")
        alice = await system.run("alice")
        await alice.send("bob", "x", {"n": 1})
        now = await system.store.connection.time_ms()
        await system.store.connection.call(
            "HSET", system.store.keys.meta(0), "owner", "ghost", "nonce", "ghost", "lease", now + 500
        )

        await alice.send("bob", "x", {"n": 2})
        await until(lambda: bob.numbers == [1, 2])

        assert await system.owners() == [system.gateways[0].gateway_id]
        assert await system.audit_holds()


async def test_an_idle_gateway_notices_that_its_lease_is_gone(server_url):
    """No message has to come before it gives up what it does not own, and takes it when its new owner is gone."""
    async with live_system(server_url, partitions=2, lease_ms=300) as system:
        (gateway,) = system.gateways
        now = await system.store.connection.time_ms()
        await system.store.connection.call(
            "HSET", system.store.keys.meta(1), "owner", "ghost", "nonce", "ghost", "lease", now + 1500
        )

        async def owned():
            return [item.partitions for item in await system.system.gateways()]

        async def has_noticed():
            return await owned() == [(0,)]

        async def has_taken():
            return await owned() == [(0, 1)] and await system.owners() == [gateway.gateway_id] * 2

        await until(has_noticed)
        await until(has_taken)
