"""A primary is killed while messages are sent: under `ha` nothing that was acknowledged is lost (R7)."""

import asyncio
import re
import signal

import pytest
from support.notaries import notary_of, status_of
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.base.ids import new_message_id, partition_of
from mas_core.errors import Unreachable
from mas_core.store.profiles import server_facts, shortfalls

SENDERS = ("alice", "carol")
RECEIVERS = ("bob", "dave", "erin")


class Steady:
    """Sends numbered messages one at a time; what is unknown is sent again with the same id."""

    def __init__(self, sender, targets):
        self.acknowledged = []
        self.unknown = 0
        self._sender, self._targets = sender, targets
        self._stop = asyncio.Event()

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._send(target)) for target in self._targets]
        await until(lambda: len(self.acknowledged) > 10, seconds=30)
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _send(self, target):
        number = 0
        while not self._stop.is_set():
            number += 1
            what, message_id = f"{self._sender.agent_id}-{target}-{number}", new_message_id()
            while True:
                try:
                    await self._sender.send(target, "x", {"n": what}, message_id=message_id, timeout=3)
                    break
                except Unreachable:
                    self.unknown += 1
            self.acknowledged.append(what)
            await asyncio.sleep(0.002)


@pytest.fixture(params=["cluster", "sentinels"])
def group(request):
    """A Cluster, then a Sentinel group; whole again afterwards."""
    found = request.getfixturevalue(request.param)
    found.configure(min_replicas_to_write=1)
    yield found
    found.restart(seconds=60)
    found.configure(min_replicas_to_write=0)


def primary_of(group, key):
    """The server that takes writes of a key."""
    return group.master_of(key) if hasattr(group, "master_of") else group.primary


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_r7_a_primary_that_is_killed_takes_nothing_acknowledged_with_it(group):
    """Two senders go on by themselves once another server has taken over; handlers see each message once."""
    agents = [*SENDERS, *RECEIVERS]
    allow = [(sender, receiver) for sender in SENDERS for receiver in RECEIVERS]
    async with live_system(
        group.url, agents=agents, allow=allow, partitions=3, profile="ha", gateways=2
    ) as system:
        assert len({partition_of(name, 3) for name in RECEIVERS}) > 1
        receivers = [await system.run(name, Recorder) for name in RECEIVERS]
        clients = [await system.client(name) for name in SENDERS]
        async with Steady(clients[0], RECEIVERS) as one, Steady(clients[1], RECEIVERS) as other:
            victim = primary_of(group, system.store.keys.meta(partition_of("bob", 3)))
            victim.kill()
            await asyncio.to_thread(group.wait_for_promotion, victim, 60)
            await asyncio.to_thread(group.restart, seconds=60)
            for load in (one, other):
                before = len(load.acknowledged)
                await until(lambda load=load, before=before: len(load.acknowledged) > before + 20, seconds=60)
        acknowledged = {*one.acknowledged, *other.acknowledged}

        def handled():
            return [what for receiver in receivers for what in receiver.numbers]

        await until(lambda: acknowledged <= set(handled()), seconds=60)
        assert len(handled()) == len(set(handled()))
        assert await system.audit_holds()
        delivered = {record.message_id for record in await system.audit(kind="message", decision="allowed")}
        assert len(delivered) >= len(acknowledged)


def stopped_replica(group):
    """The replica of the Sentinel group, which does not move."""
    replica = next(
        member for member in group.members if not member.is_sentinel and member is not group.primary
    )
    replica.signal(signal.SIGSTOP)
    return replica


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_r7_what_no_replica_has_is_neither_acknowledged_nor_handled(sentinels):
    """The sender is told that it is unknown; after the fail-over the same id gives the one result."""
    async with live_system(
        sentinels.url, agents=["alice", "bob"], allow=[("alice", "bob")], profile="ha"
    ) as system:
        bob, alice = await system.run("bob"), await system.client("alice")
        await alice.send("bob", "x", {"n": 1})
        await until(lambda: bob.numbers == [1])
        primary, replica, message_id = sentinels.primary, stopped_replica(sentinels), new_message_id()
        try:
            with pytest.raises(Unreachable, match="may still be delivered"):
                await alice.send("bob", "x", {"n": 2}, message_id=message_id, timeout=2)
            committed = len(await system.audit(kind="message"))
            assert (committed, bob.numbers) == (2, [1])
            primary.kill()
        finally:
            replica.signal(signal.SIGCONT)
        await asyncio.to_thread(sentinels.wait_for_promotion, primary, 60)
        await asyncio.to_thread(sentinels.restart, seconds=60)

        receipt = await alice.send("bob", "x", {"n": 2}, message_id=message_id, timeout=60)
        await until(lambda: bob.numbers == [1, 2], seconds=30)
        await alice.send("bob", "x", {"n": 3}, timeout=60)
        await until(lambda: bob.numbers == [1, 2, 3], seconds=30)

        assert receipt.decision == "allowed"
        assert await system.audit_holds()


@pytest.mark.timeout(120)
async def test_r7_a_handler_that_runs_once_does_not_start_before_a_replica_has_the_note(sentinels):
    """A fail-over would bring the message back unstarted; while no replica takes the note it counts as begun."""
    finished = asyncio.Event()

    class Gated(Recorder):
        async def on_message(self, message):
            await super().on_message(message)
            await finished.wait()

    async with live_system(
        sentinels.url, agents=["alice", "bob"], allow=[("alice", "bob")], profile="ha"
    ) as system:
        bob = await system.run("bob", Gated, max_in_flight=1, delivery="at_most_once")
        alice = await system.client("alice")
        work = system.store.keys.work(0, "bob")

        async def has_started_or_tried_again():
            notes = b" ".join(await system.store.connection.call("HVALS", work))
            return 2 in bob.numbers or len(re.findall(rb"\b1=[0-9]+=", notes)) > 1

        await alice.send_many("bob", "x", [{"n": 1}, {"n": 2}])
        await until(lambda: bob.numbers == [1])
        replica = stopped_replica(sentinels)
        try:
            finished.set()
            await until(has_started_or_tried_again, seconds=30)
            started = bob.numbers
        finally:
            replica.signal(signal.SIGCONT)
        await asyncio.to_thread(sentinels.wait_until_whole, 60)

        assert started == [1]


@pytest.mark.timeout(120)
async def test_r7_outside_of_ha_nothing_waits_for_a_replica(sentinels):
    """And nothing says that it does: what is acknowledged is on the disk of the primary only."""
    async with live_system(sentinels.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        bob, alice = await system.run("bob"), await system.client("alice")
        replica = stopped_replica(sentinels)
        try:
            receipt = await alice.send("bob", "x", {"n": 1}, timeout=10)
            await until(lambda: bob.numbers == [1])
        finally:
            replica.signal(signal.SIGCONT)
        await asyncio.to_thread(sentinels.wait_until_whole, 60)

        assert receipt.decision == "allowed"
        found = shortfalls("ha", await server_facts(system.store.connection))
        assert [item.message.split(",")[0] for item in found] == [
            "the profile ha needs min-replicas-to-write 1"
        ]


@pytest.mark.timeout(120)
async def test_r7_the_notary_signs_only_what_a_replica_has(sentinels):
    """A fail-over must not take back what was signed."""
    async with live_system(
        sentinels.url, agents=["alice", "bob"], allow=[("alice", "bob")], profile="ha"
    ) as system:
        alice = await system.client("alice")
        await alice.send("bob", "x", {"n": 1})
        async with notary_of(system):
            before = await until(lambda: is_signed(system), seconds=20)
            replica = stopped_replica(sentinels)
            try:
                with pytest.raises(Unreachable):
                    await alice.send("bob", "x", {"n": 2}, timeout=1.5)
                behind = await until(lambda: evidence(system, problem=True), seconds=20)
                assert behind.signed == before.signed
                assert "replicas" in behind.problem
            finally:
                replica.signal(signal.SIGCONT)
            after = await until(lambda: is_signed(system), seconds=30)
            assert after.signed > before.signed
        await asyncio.to_thread(sentinels.wait_until_whole, 60)


async def evidence(system, *, problem=False):
    """What the notary says of the only partition, once it says anything about a problem or about none."""
    status = await status_of(system)
    found = status.partitions[0] if status is not None and status.partitions else None
    return found if found is not None and bool(found.problem) == problem else None


async def is_signed(system):
    """What the notary says once it has signed everything that is recorded."""
    found = await evidence(system)
    recorded, _ = await system.store.records.audit_head(0)
    return found if found is not None and found.signed == recorded > 0 else None
