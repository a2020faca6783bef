"""What operators do is in the audit chain: each act once, whoever else writes into the log."""

from __future__ import annotations

import asyncio
import json
import signal

import msgspec
import pytest
from support.systems import LiveSystem, live_system
from support.waiting import until

from mas_core.errors import AuditUnavailable, RuleNotFound
from mas_core.model.audit_record import AuditRecord
from mas_core.model.operator_entry import MAC_PURPOSE, MAX_ENTRY_BYTES, OperatorEntry
from mas_core.ops import agents, breakers, limits, rbac, standings, state
from mas_core.ops.audit_questions import note_question
from mas_core.ops.gateway_service import GatewayService
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.settings.gateway_settings import GatewaySettings
from mas_core.settings.target import Target

PAIR = [("alice", "bob")]


async def recorded(running: LiveSystem, action: str, count: int = 2) -> list[AuditRecord]:
    """The records of an action, once there are so many."""
    found: list[AuditRecord] = []

    async def are_there() -> bool:
        found[:] = await running.audit(type=action)
        return len(found) >= count

    await until(are_there)
    return found


async def emptied(running: LiveSystem) -> None:
    """Wait until the log holds nothing more that is not recorded."""

    async def is_empty() -> bool:
        return await running.store.records.unrecorded_operator_entries() == 0

    await until(is_empty)


async def add_raw(running: LiveSystem, text: bytes, mac: bytes = b"") -> None:
    """Write into the log as somebody with the server's password."""
    await running.store.records.add_operator_entry(text, mac)


def entry(running: LiveSystem, **fields: object) -> OperatorEntry:
    """An entry as an operator's machine writes it."""
    given = {
        "id": "e1",
        "operation": "o1",
        "phase": "done",
        "time": 0,
        "action": "rule.allow",
        "actor": "a@b",
    }
    return msgspec.convert({**given, **fields}, OperatorEntry)


async def test_a_change_is_recorded_before_and_after(server_url):
    """A rule that is added leaves two records: who, why, what was begun and what came of it."""
    async with live_system(server_url, agents=["alice", "bob"]) as running:
        running.system.operator_log.explain(context="shop", command="mas rbac allow", reason="new team")
        (rule,) = await rbac.add_rules(running.system, "allow", "alice", ["bob"], message_type="note.*")
        begun, done = await recorded(running, "rule.allow")
        assert [begun.decision, done.decision] == ["begun", "done"]
        assert begun.kind == done.kind == "operator"
        assert begun.actor == done.actor == running.system.actor
        assert "@" in done.actor
        assert done.reason == "new team"
        assert done.target == "alice"
        assert done.details["command"] == "mas rbac allow"
        assert done.details["context"] == "shop"
        assert done.details["operation"] == begun.details["operation"]
        change = done.details["change"]
        assert isinstance(change, dict)
        assert [item["id"] for item in change["rules"]["added"]] == [rule.id]
        assert await running.audit_holds()


async def test_every_kind_of_write_is_recorded(server_url):
    """Registry, policy, standings, tokens, circuits, limits and state each leave begun and done."""
    async with live_system(server_url, agents=["alice", "bob"]) as running:
        system = running.system
        await running.change_policy(
            features=msgspec.structs.replace((await rbac.load(system)).features, circuit_breaker=True)
        )
        await agents.rotate_token(system, "alice", show=True)
        await standings.set_standing(system, ["bob"], "paused", reason="lunch", wait=0)
        await breakers.open_circuit(system, "bob", seconds=5)
        await limits.change_limit(system, "alice", per_minute=5)
        await limits.reset(system, "alice")
        await state.set_part(system, "alice", "seen", 1)
        await agents.deregister(system, "bob")
        wanted = {
            "agent.register": 4, "token.rotate": 2, "standing.paused": 2, "breaker.open": 2, "limit.set": 2,
            "limit.reset": 4, "state.set": 2, "agent.deregister": 4,
        }  # fmt: skip
        for action, count in wanted.items():
            found = await recorded(running, action, count)
            assert [item.decision for item in found] == ["begun", "done"] * (count // 2), action
            assert {item.actor for item in found} == {system.actor}
        assert await running.audit_holds()


async def test_secrets_of_a_write_stay_out_of_its_record(server_url):
    """Neither a token nor a value of a state is in any record."""
    async with live_system(server_url, agents=["alice"]) as running:
        issued = await agents.rotate_token(running.system, "alice", show=True)
        await state.set_part(running.system, "alice", "pin", "4711-very-secret")
        await recorded(running, "state.set")
        everything = msgspec.json.encode(await running.audit())
        assert issued.token.encode() not in everything
        assert b"very-secret" not in everything
        assert issued.key_id.encode() in everything


async def test_what_is_refused_before_it_is_written_leaves_no_record(server_url):
    """A change that makes no sense, and a dry run, change nothing and are not recorded."""
    async with live_system(server_url, agents=["alice", "bob"]) as running:
        with pytest.raises(RuleNotFound):
            await rbac.revoke(running.system, ["r99"])
        await rbac.add_rules(running.system, "deny", "alice", ["bob"], dry_run=True)
        await emptied(running)
        assert await running.audit(type="rule.remove") == []
        assert await running.audit(type="rule.deny") == []


async def test_a_write_that_fails_is_recorded_as_failed(server_url):
    """The record of a failed write says why."""
    async with live_system(server_url, agents=["alice"]) as running:
        with acting("test.write", "alice"), pytest.raises(RuleNotFound):
            async with running.system.operator_log.writing("policy"):
                raise RuleNotFound("there is no rule r7")
        begun, failed = await recorded(running, "test.write")
        assert [begun.decision, failed.decision] == ["begun", "failed"]
        assert failed.details["error"] == "there is no rule r7"


async def test_entries_wait_for_a_gateway(server_url):
    """What operators do while no gateway runs is recorded when one does."""
    async with live_system(server_url, agents=["alice", "bob"], gateways=0) as running:
        await running.allow(*PAIR)
        assert await running.store.records.unrecorded_operator_entries() > 0
        await running.start_gateway()
        await emptied(running)
        found = await running.audit(kind="operator", decision="done")
        assert [item.type for item in found] == ["agent.register"] * 2 + ["policy.write"] * 2
        assert [item.details["at"] for item in found] == sorted(item.details["at"] for item in found)


async def test_a_gateway_killed_between_reading_and_commit_records_each_entry_once(server_url):
    """Each act is in the chain exactly once although gateways are killed with kill -9 while they work."""
    async with live_system(server_url, agents=["alice", "bob"], gateways=0) as running:
        process = await running.spawn_gateway()
        for number in range(60):
            with acting(f"test.act-{number}"):
                async with running.system.operator_log.writing("policy"):
                    pass
            if number % 20 == 10:
                process.send_signal(signal.SIGKILL)
                await process.wait()
                process = await running.spawn_gateway()
        await emptied(running)
        found = [(item.type, item.decision) for item in await running.audit(kind="operator")]
        acts = [item for item in found if item[0].startswith("test.act-")]
        assert acts == [(f"test.act-{number}", phase) for number in range(60) for phase in ("begun", "done")]
        assert await running.audit_holds()


async def test_messages_go_on_beside_operator_entries(server_url):
    """Neither messages nor entries are lost or doubled when both come at once, and the chain holds."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as running:
        bob = await running.run("bob")
        alice = await running.client("alice")

        async def act(number: int) -> None:
            with acting(f"test.act-{number}"):
                async with running.system.operator_log.writing("policy"):
                    pass

        sends = [alice.send("bob", "note", {"n": number}) for number in range(200)]
        await asyncio.gather(*sends, *(act(number) for number in range(40)))
        await emptied(running)
        await until(lambda: len(bob.messages) == 200)
        acts = [
            item.type for item in await running.audit(decision="done") if item.type.startswith("test.act")
        ]
        assert sorted(acts) == sorted(f"test.act-{number}" for number in range(40))
        assert len(await running.audit(kind="message", type="note")) == 200
        assert await running.audit_holds()


async def test_s30_forged_entries_are_never_an_operators(server_url):
    """Who has the server but not the keys can leave only records without an operator: no, wrong or other MAC."""
    async with live_system(server_url, agents=["alice"]) as running:
        text = msgspec.json.encode(entry(running, actor="root@trusted", reason="\x1b[31mall good\u202e"))
        await add_raw(running, text)
        await add_raw(running, text, b"\x00" * 32)
        await add_raw(running, text, running.keys.mac("policy", text))
        await emptied(running)
        found = await running.audit(kind="operator", decision="unauthenticated")
        assert len(found) == 3
        for record in found:
            assert record.actor == record.type == record.target == ""
            claimed = record.details["claimed"]
            assert isinstance(claimed, dict)
            assert claimed["actor"] == "root@trusted"
        assert await running.audit_holds()


async def test_s30_hostile_entries_do_not_block_the_partition(server_url):
    """Entries that are no text, no JSON, empty, nested without end, or huge leave a record; messages pass."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as running:
        hostile = [
            b"", b"\xff\xfe", b"{", b"null", b"[" * 100_000, b'{"id":1}', b"a" * (MAX_ENTRY_BYTES + 1),
            json.dumps({"id": "x", "operation": "", "phase": "dancing", "time": -1}).encode(),
        ]  # fmt: skip
        for text in hostile:
            await add_raw(running, text)
            await add_raw(running, text, running.keys.mac(MAC_PURPOSE, text))
        key = running.store.keys.operator_log()
        await running.store.connection.call("XADD", key, "*", "other", "field")
        await emptied(running)
        await running.run("bob")
        alice = await running.client("alice")
        assert (await alice.send("bob", "note", {})).decision == "allowed"
        found = [item for item in await running.audit(kind="operator") if "sha256" in item.details]
        assert len(found) == 2 * len(hostile) + 1
        assert {item.actor for item in found} == {""}
        assert await running.audit_holds()


async def test_s30_an_entry_that_is_played_back_is_told_apart(server_url):
    """A true entry that comes again, soon or much later, is recorded as played back and not as an act."""
    async with live_system(server_url, agents=["alice"]) as running:
        now = await running.store.connection.time_ms()
        for time_ms in (now, now - 3_600_000):
            text = msgspec.json.encode(entry(running, id=f"e{time_ms}", time=time_ms, action="rule.replayed"))
            for _ in range(2):
                await add_raw(running, text, running.keys.mac(MAC_PURPOSE, text))
        await emptied(running)
        assert [item.decision for item in await running.audit(type="rule.replayed")] == ["done"]
        assert len(await running.audit(kind="operator", decision="replayed")) == 3


@pytest.mark.parametrize("spoilt", ["string", "end of time"])
async def test_s31_a_spoilt_log_stops_writes_but_no_messages(server_url, spoilt):
    """When the log takes no entries nothing is changed; messages pass, and the log heals or is named."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR, gateways=0) as running:
        key = running.store.keys.operator_log()
        if spoilt == "string":
            await running.store.connection.call("DEL", key)
            await running.store.connection.call("SET", key, "x")
        else:
            await running.store.connection.call(
                "XADD", key, "18446744073709551615-18446744073709551615", "b", ""
            )
        before = (await rbac.load(running.system)).revision
        with pytest.raises(AuditUnavailable):
            await rbac.add_rules(running.system, "deny", "alice", ["bob"])
        assert (await rbac.load(running.system)).revision == before
        await running.start_gateway()
        await running.run("bob")
        alice = await running.client("alice")
        assert (await alice.send("bob", "note", {})).decision == "allowed"
        if spoilt == "string":

            async def is_alarmed() -> bool:
                statuses = await running.system.gateways()
                return any("operator log" in alarm for item in statuses for alarm in item.alarms)

            await until(is_alarmed)
        else:
            await emptied(running)
            await rbac.add_rules(running.system, "deny", "alice", ["bob"])
            await recorded(running, "rule.deny")


async def test_without_keys_an_entry_is_unauthenticated(server_url):
    """Where the keys are not at hand what is written is recorded, but as nobody's."""
    async with live_system(server_url, agents=["alice"]) as running:
        target = Target(running.system.target.url, namespace=running.store.namespace)
        async with System(target) as stranger:
            await state.set_part(stranger, "alice", "seen", 1)
        await emptied(running)
        found = await running.audit(kind="operator", decision="unauthenticated")
        assert [item.details["claimed"]["phase"] for item in found] == ["begun", "done"]  # type: ignore[index]
        assert {item.actor for item in found} == {""}


async def test_entries_are_recorded_once_over_two_gateways_and_partitions(server_url):
    """Only the owner of partition 0 records them, and exactly once while owners change."""
    async with live_system(server_url, agents=["alice"], partitions=3, gateways=2) as running:
        for number in range(30):
            with acting(f"test.act-{number}"):
                async with running.system.operator_log.writing("policy"):
                    pass
            if number == 15:
                await running.gateways[0].stop()
        await emptied(running)
        acts = [item.type for item in await running.audit(kind="operator", decision="done")]
        assert [item for item in acts if item.startswith("test.act")] == [
            f"test.act-{number}" for number in range(30)
        ]
        assert await running.audit_holds()


async def test_s5_questions_from_python_are_recorded_and_need_the_log(server_url, tmp_path):
    """A query by the Python API leaves a record with its arguments; one that cannot be recorded gets no answer."""
    settings = GatewaySettings()
    service = GatewayService(settings, redis_url=server_url, keys_dir=tmp_path / "k", namespace="t-questions")
    async with service as gateway:
        await gateway.audit.query_by_sender("alice", 5)

        async def asked() -> list[AuditRecord]:
            found = await gateway.audit.query_all()
            return [item for item in found if item.type == "audit.query_by_sender"]

        (record,) = await until(asked)  # type: ignore[misc]
        assert record.kind == "audit.query"
        assert record.details["question"] == {"sender_id": "alice", "start_time": 5}
        key = gateway.store.keys.operator_log()
        await gateway.store.connection.call("DEL", key)
        await gateway.store.connection.call("SET", key, "x")
        with pytest.raises(AuditUnavailable):
            await gateway.audit.query_by_sender("alice")


async def test_a_proof_may_be_asked_of_a_spoilt_store(server_url):
    """Verification goes on when the question cannot be recorded; a list does not."""
    async with live_system(server_url, agents=["alice"]) as running:
        key = running.store.keys.operator_log()
        await emptied(running)
        await running.store.connection.call("DEL", key)
        await running.store.connection.call("SET", key, "x")
        await note_question(running.system, "audit.verify")
        with pytest.raises(AuditUnavailable):
            await note_question(running.system, "audit.list")
