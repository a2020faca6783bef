"""Circuits: who is kept from whom, for how long, and who is not."""

import asyncio

import msgspec
import pytest
from pydantic import BaseModel
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import (
    AgentFailed,
    AgentNotFound,
    CircuitOpen,
    InvalidPayload,
    NoResponder,
    RequestTimedOut,
    UsageError,
)
from mas_core.model.policy import BreakerLimits, Features
from mas_core.ops import breakers

LIMITS = BreakerLimits(failures=3, timeout_ms=60_000, jitter=0, successes=2)
QUICK = msgspec.structs.replace(LIMITS, timeout_ms=300)
ON = Features(circuit_breaker=True)


class Worker(Recorder):
    """Fails for whom it is told to, and on payloads that say so."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.fails_for = set()

    async def on_message(self, message):
        await super().on_message(message)
        if message.sender_id in self.fails_for or message.data.get("crash"):
            raise RuntimeError("no")
        return {"by": self.id}


class Strict(BaseModel):
    n: int


class StrictWorker(Worker):
    @Recorder.on("strict", model=Strict)
    async def strict(self, message):
        return {}


@pytest.fixture
async def system(server_url):
    """alice, carol and dora may send to the worker; alice also to its backup."""
    names = ["alice", "carol", "dora", "worker", "backup"]
    pairs = [(name, "worker") for name in names[:3]] + [("alice", "backup")]
    async with live_system(server_url, agents=names, allow=pairs) as opened:
        await opened.change_policy(features=ON, default_breaker=LIMITS)
        yield opened


async def circuits(system):
    """Target, sender and state of the circuits that are not closed."""
    found = await breakers.list_circuits(system.system)
    return [(item.target, item.sender, item.state) for item in found]


async def opens(system, *wanted):
    """Wait until exactly these circuits are not closed."""

    async def is_so():
        return await circuits(system) == list(wanted)

    await until(is_so)


async def fail(sender, count=3, kind=AgentFailed):
    for _ in range(count):
        with pytest.raises(kind):
            await sender.request("worker", "x", {"crash": True})


async def test_s33_a_sender_that_fails_on_purpose_shuts_out_nobody_but_itself(system):
    """S33: the circuit of the pair opens; for everybody else the target stays open to all."""
    worker = await system.run("worker", Worker)
    alice, carol = await system.run("alice"), await system.run("carol")

    await fail(alice)
    await opens(system, ("worker", "alice", "open"))

    with pytest.raises(CircuitOpen) as refused:
        await alice.send("worker", "x", {})
    assert 0 < refused.value.details["retry_after"] <= 60
    for _ in range(20):
        assert (await carol.request("worker", "x", {})).data == {"by": "worker"}
    assert await circuits(system) == [("worker", "alice", "open")]
    assert len(worker.messages) == 23
    (record,) = await system.audit(decision="circuit_open")
    assert (record.sender, record.target) == ("alice", "worker")
    (opening,) = await system.audit(kind="breaker.open")
    assert (opening.sender, opening.target) == ("alice", "worker")
    assert await system.audit_holds()


async def test_s33_crafted_payloads_count_against_their_sender_only(system):
    """S33: what the target's model refuses is the fault of who sent it, from however many senders it comes."""
    await system.run("worker", StrictWorker)
    senders = [await system.run(name) for name in ("alice", "carol", "dora")]

    for sender in senders[:2]:
        for _ in range(3):
            with pytest.raises(InvalidPayload):
                await sender.request("worker", "strict", {"n": "none"})
    await opens(system, ("worker", "alice", "open"), ("worker", "carol", "open"))

    for sender in senders[:2]:
        with pytest.raises(CircuitOpen):
            await sender.request("worker", "strict", {"n": 1})
    for _ in range(10):
        await senders[2].request("worker", "strict", {"n": 1})


async def test_a_target_that_fails_for_several_senders_is_left_alone_by_all(system):
    """Its circuit opens, also for senders of whom nothing has failed."""
    worker = await system.run("worker", Worker)
    worker.fails_for = {"alice", "carol", "dora"}
    alice, carol, dora = [await system.run(name) for name in ("alice", "carol", "dora")]

    await fail(alice, 2)
    await fail(carol, 1)
    await opens(system, ("worker", "", "open"))

    with pytest.raises(CircuitOpen):
        await dora.send("worker", "x", {})
    assert len(worker.messages) == 3


async def test_messages_that_are_handled_in_between_keep_it_closed(system):
    """Failures are weighed against what went well, also where agents settle without telling the gateway."""
    worker = await system.run("worker", Worker)
    alice, carol, dora = [await system.run(name) for name in ("alice", "carol", "dora")]

    for sender in (alice, carol, alice, carol):
        for number in range(4):
            await dora.send("worker", "x", {"n": number})
        await until(lambda: len([m for m in worker.messages if m.sender_id == "dora"]) % 4 == 0)
        await asyncio.sleep(0.05)
        await fail(sender, 1)

    await alice.send("worker", "x", {})
    assert await circuits(system) == []


async def test_handed_back_messages_count_too(system):
    """Each attempt of a message that is not a request; the retries wait until the circuit lets them pass."""
    await system.change_policy(default_breaker=msgspec.structs.replace(QUICK, successes=1))
    worker = await system.run("worker", Worker)
    worker.fails_for = {"alice"}
    alice = await system.run("alice")

    await alice.send("worker", "x", {"n": 1})
    await alice.send("worker", "x", {"n": 2})
    await until(lambda: system.audit(kind="breaker.open"))
    worker.fails_for = set()

    await until(lambda: system.audit(kind="breaker.close"))
    await until(lambda: {1, 2} <= set(worker.numbers[-3:]))
    assert await system.store.records.dead_letters() == 0
    assert await circuits(system) == []


async def test_trials_that_go_well_close_it(system):
    """One at a time, after the time-out; what comes beside them is refused."""
    await system.change_policy(default_breaker=QUICK)
    worker = await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    await opens(system, ("worker", "alice", "half_open"))

    gate = asyncio.Event()
    handle = worker.on_message

    async def wait_for_gate(message):
        await gate.wait()
        return await handle(message)

    worker.on_message = wait_for_gate
    trial = asyncio.create_task(alice.request("worker", "x", {}))
    await asyncio.sleep(0.1)
    with pytest.raises(CircuitOpen):
        await alice.send("worker", "x", {})
    gate.set()
    await trial

    async def passes():
        try:
            await alice.send("worker", "x", {})
        except CircuitOpen:
            return False
        return True

    await until(passes)
    await opens(system)
    for _ in range(5):
        await alice.send("worker", "x", {})
    (closing,) = await system.audit(kind="breaker.close")
    assert (closing.sender, closing.target) == ("alice", "worker")


async def test_a_trial_that_fails_opens_it_again(system):
    """For another time-out."""
    await system.change_policy(default_breaker=QUICK)
    worker = await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    await opens(system, ("worker", "alice", "half_open"))

    await fail(alice, 1)
    await until(lambda: _count(system, "breaker.open", 2))
    with pytest.raises(CircuitOpen):
        await alice.send("worker", "x", {})
    assert len(worker.messages) == 4


async def _count(system, kind, wanted):
    return len(await system.audit(kind=kind)) == wanted


async def test_nobody_there_opens_it_and_an_instance_that_starts_closes_it(system):
    """Requests that nobody could answer count against the target; it need not wait for the time-out."""
    alice, carol = await system.run("alice"), await system.run("carol")
    for sender in (alice, carol, alice):
        with pytest.raises(NoResponder):
            await sender.request("worker", "x", {})
    with pytest.raises(CircuitOpen):
        await carol.request("worker", "x", {})
    assert await circuits(system) == [("worker", "", "open")]

    worker = await system.run("worker", Worker)

    await opens(system)
    assert worker.messages == []
    assert (await alice.request("worker", "x", {})).data == {"by": "worker"}


async def test_the_backup_gets_the_messages_meanwhile(system):
    """Recorded with whom they were for; requests are answered by it."""
    await system.change_policy(backups={"worker": "backup"})
    await system.run("worker", Worker)
    backup = await system.run("backup", Worker)
    alice, carol = await system.run("alice"), await system.run("carol")
    await breakers.open_circuit(system.system, "worker", reason="migration")

    assert (await alice.request("worker", "x", {"n": 1})).data == {"by": "backup"}
    receipt = await alice.send("worker", "x", {"n": 2})
    with pytest.raises(CircuitOpen) as refused:
        await carol.request("worker", "x", {})

    await until(lambda: backup.numbers == [1, 2])
    (record,) = await system.audit(message_id=receipt.message_id)
    assert (record.decision, record.target) == ("allowed", "backup")
    assert record.details == {"original_target": "worker"}
    assert "its backup backup cannot take it: denied" in refused.value.details.get(
        "because", str(refused.value)
    )
    assert await system.audit_holds()


async def test_a_backup_gets_no_payloads_that_are_refused(system):
    """When only the sender can do something about it, another target is no help."""
    await system.change_policy(backups={"worker": "backup"})
    await system.run("worker", StrictWorker)
    backup = await system.run("backup", StrictWorker)
    alice = await system.run("alice")
    for _ in range(3):
        with pytest.raises(InvalidPayload):
            await alice.request("worker", "strict", {"n": "none"})
    await opens(system, ("worker", "alice", "open"))

    with pytest.raises(CircuitOpen):
        await alice.request("worker", "strict", {"n": "none"})
    assert backup.messages == []


async def test_an_operator_opens_and_resets_at_once_on_every_gateway(server_url):
    """In force when the call returns, whoever owns the partition, and recorded with who and why."""
    async with live_system(
        server_url, agents=["alice", "worker"], allow=[("alice", "worker")], partitions=2, gateways=2
    ) as system:
        await system.change_policy(features=ON, default_breaker=LIMITS)
        worker = await system.run("worker", Worker)
        alice = await system.run("alice")
        for number in range(5):
            await breakers.open_circuit(system.system, "worker", seconds=60, reason="migration")
            with pytest.raises(CircuitOpen):
                await alice.send("worker", "x", {"n": number})
            await breakers.reset_circuits(system.system, "worker", reason="done")
            await alice.send("worker", "x", {"n": number})
        await until(lambda: worker.numbers == [0, 1, 2, 3, 4])
        records = [*await system.audit(kind="breaker.open"), *await system.audit(kind="breaker.reset")]
        assert {(record.actor, record.reason) for record in records} == {
            (system.system.actor, "migration"),
            (system.system.actor, "done"),
        }
        assert len(records) == 10
        assert await system.audit_holds()


async def test_a_reset_forgets_what_was_counted(system):
    """Two failures before it and two after it are not three in a row."""
    await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice, 2)
    await breakers.reset_circuits(system.system, "worker")
    await fail(alice, 2)

    await alice.send("worker", "x", {})
    assert await circuits(system) == []


async def test_open_circuits_survive_their_gateway(system):
    """The next owner of the partition knows them."""
    await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    await opens(system, ("worker", "alice", "open"))

    await system.gateways[0].stop()
    await system.start_gateway()

    with pytest.raises(CircuitOpen):
        await alice.send("worker", "x", {})


@pytest.mark.parametrize("damage", ["type", "content"])
async def test_state_that_cannot_be_read_counts_as_closed(system, damage):
    """Fail open: messages pass, records of the damage are no obstacle, and it is counted."""
    await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    await opens(system, ("worker", "alice", "open"))
    call, key = system.store.connection.call, system.store.keys.breakers(0)
    if damage == "type":
        await call("DEL", key)
        await call("SET", key, "nonsense")
    else:
        await call("HSET", key, "circuit:alice>worker", b"x" * 100)

    await system.store.records.raise_revision()

    await alice.send("worker", "x", {})
    owner, _ = system.gateways[0]._owners[0]
    assert owner.breaker_records_unreadable == 1
    await fail(alice)
    await until(lambda: _count(system, "breaker.open", 2))


async def test_nothing_is_counted_while_breakers_are_off(system):
    """Whatever fails, and nobody can open one by hand without noticing."""
    await system.change_policy(features=Features())
    await system.run("worker", Worker)
    alice = await system.run("alice")

    await fail(alice, 10)

    assert await circuits(system) == []
    with pytest.raises(UsageError):
        await breakers.open_circuit(system.system, "worker")
    with pytest.raises(AgentNotFound):
        await breakers.list_circuits(system.system, ("nobody",))


async def test_while_nothing_fails_nothing_is_watched(system):
    """No state, no writes: a message costs one look at an empty dict."""
    worker = await system.run("worker", Worker)
    alice = await system.run("alice")
    for number in range(20):
        await alice.send("worker", "x", {"n": number})
    await until(lambda: len(worker.messages) == 20)

    owner, _ = system.gateways[0]._owners[0]
    assert owner._breakers.watched == {}
    assert not await system.store.connection.call("EXISTS", system.store.keys.breakers(0))


async def test_a_slow_target_is_not_a_failing_one(system):
    """Requests that nobody answers in time say nothing about who is at fault."""
    gate = asyncio.Event()

    class Slow(Recorder):
        async def on_message(self, message):
            await gate.wait()

    await system.run("worker", Slow)
    alice = await system.run("alice")
    for _ in range(4):
        with pytest.raises(RequestTimedOut):
            await alice.request("worker", "x", {}, timeout=0.1)
    assert await circuits(system) == []
    gate.set()


async def test_one_trial_at_a_time_also_within_one_batch(system):
    """Messages that come together are not all trials."""
    await system.change_policy(default_breaker=QUICK)
    worker = await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    await opens(system, ("worker", "alice", "half_open"))

    results = await asyncio.gather(
        *(alice.send("worker", "x", {"n": n}) for n in range(30)), return_exceptions=True
    )

    passed = [item for item in results if not isinstance(item, CircuitOpen)]
    assert len(passed) == 1
    await until(lambda: len(worker.messages) == 4)


async def test_a_rehearsal_takes_no_trial(system):
    """Asking what would become of a message leaves the trial to those in earnest."""
    await system.change_policy(default_breaker=QUICK)
    await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    asker = await system.client("alice")
    await opens(system, ("worker", "alice", "half_open"))

    for _ in range(5):
        assert (await asker.rehearse("worker", "x", {})).decision == "allowed"
    await alice.send("worker", "x", {})


async def test_s33_nobody_closes_the_inbox_of_an_agent_that_rests(system):
    """S33: requests to who does not run keep back requests only; messages wait in the inbox as ever."""
    alice, carol = await system.run("alice"), await system.run("carol")
    for _ in range(3):
        with pytest.raises(NoResponder):
            await alice.request("worker", "x", {})
    with pytest.raises(CircuitOpen):
        await alice.request("worker", "x", {})

    for number in range(5):
        await carol.send("worker", "x", {"n": number})

    worker = await system.run("worker", Worker)
    await until(lambda: worker.numbers == [0, 1, 2, 3, 4])


async def test_s33_failing_trials_on_purpose_keeps_no_circuit_open(system):
    """S33: whose trial failed comes after the others, so one who behaves closes the circuit for all."""
    await system.change_policy(default_breaker=QUICK)
    worker = await system.run("worker", Worker)
    alice, carol, dora = [await system.run(name) for name in ("alice", "carol", "dora")]
    worker.fails_for = {"alice", "dora"}
    await fail(alice, 2)
    await fail(dora, 1)
    await opens(system, ("worker", "", "half_open"))
    await fail(dora, 1)
    await until(lambda: _count(system, "breaker.open", 2))
    await opens(system, ("worker", "", "half_open"))

    with pytest.raises(CircuitOpen):
        await dora.request("worker", "x", {"crash": True})
    for _ in range(2):
        await carol.request("worker", "x", {})

    await opens(system)


async def test_breakers_work_without_a_server(monkeypatch):
    """In memory as on a real one."""
    names = ["alice", "worker"]
    async with live_system("memory://", agents=names, allow=[("alice", "worker")]) as system:
        await system.change_policy(features=ON, default_breaker=LIMITS)
        await system.run("worker", Worker)
        alice = await system.run("alice")
        await fail(alice)
        await opens(system, ("worker", "alice", "open"))
        with pytest.raises(CircuitOpen):
            await alice.send("worker", "x", {})


async def test_a_failure_of_the_breakers_lets_messages_pass(system, monkeypatch):
    """Fail open: they are an aid, not a control; the failure is counted and raises an alarm."""

    def broken(*arguments, **options):
        raise RuntimeError("broken")

    await system.run("worker", Worker)
    alice = await system.run("alice")
    await fail(alice)
    await opens(system, ("worker", "alice", "open"))
    monkeypatch.setattr("mas_core.gateway.breakers.Breakers.ask", broken)

    await alice.send("worker", "x", {})

    owner, _ = system.gateways[0]._owners[0]
    assert owner.breaker_records_unreadable == 1
    assert any("circuits" in alarm for alarm in owner.alarms)
