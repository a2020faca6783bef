"""Backups: a system in one file, put back into an empty one, with nothing that was ended since come alive."""

import contextlib
import shutil

import pytest
from support.backups import lose_store, put_back
from support.notaries import check_evidence, evidence_of, notary_of, signed_to, status_of
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.errors import BackupInvalid, Conflict, MasError
from mas_core.model.policy import Rule
from mas_core.ops import agents, approvals, dead_letters, rbac, schedule, standings, state
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.create import create
from mas_core.ops.backup.plan import plan, warnings_of
from mas_core.ops.backup.verify import verify
from mas_core.resilience.retry_policy import RetryPolicy
from mas_core.security.policy_changes import add_rule
from mas_core.settings.private_files import write_private

NAMES = ["alice", "bank", "worker"]
RETRIES = {
    "job.run": RetryPolicy(strategy="fixed", base=0.01, jitter=0),
    "job.later": RetryPolicy(strategy="fixed", base=3600, max_delay=3600, jitter=0),
}


class Failing(Recorder):
    """Fails for good, or for now."""

    async def on_message(self, message):
        await super().on_message(message)
        raise RuntimeError("no")


async def dead(system, *, dropped=False):
    wanted = dead_letters.Wanted(dropped=dropped)
    return (await dead_letters.list_letters(system.system, wanted)).letters


async def held(system):
    return [item.facts.approval_id for item in await approvals.list_waiting(system.system)]


async def waiting(system):
    return sorted([item.name async for items in system.store.backups.later(0) for item in items])


async def all_recorded(system):
    """Wait until all that was done is recorded."""

    async def recorded():
        return not await system.store.records.unrecorded_operator_entries()

    await until(recorded)


async def all_signed(system):
    """Wait until all that was done is recorded, and the notary has signed it."""
    await all_recorded(system)
    seq = (await system.store.backups.positions())[0].seq
    await until(lambda: signed_to(system, seq))


@contextlib.asynccontextmanager
async def filled_system(url, **options):
    """Rules, a state, messages held, scheduled and to be tried again, two dead letters, one dropped."""
    async with live_system(url, agents=NAMES, allow=[("alice", "worker")], **options) as system:
        await system.system.policy.change(
            lambda document: add_rule(document, Rule("", "hold", "alice", "bank"))
        )
        await standings.set_standing(system.system, ["bank"], "paused", reason="audit", wait=0)
        await state.set_part(system.system, "worker", "done", 41)
        await state.set_part(system.system, "worker", "done", 42)
        async with system.agent("worker", Failing, retry=RETRIES), system.agent("alice") as alice:
            await alice.send("bank", "transfer", {"n": 1})
            for number in (4, 5):
                await alice.send("worker", "job.due", {"n": number}, deliver_after=3600)
            for number in range(2):
                await alice.send("worker", "job.run", {"n": number})

            async def died():
                return len(await dead(system)) == 2

            await until(died)
            await alice.send("worker", "job.later", {"n": 7})

            async def waits():
                return len(await waiting(system)) == 4

            await until(waits)
        await dead_letters.drop(system.system, [(await dead(system))[0].id])
        yield system


async def told(system):
    """All that a backup is about, as the operator's commands show it."""
    policy = await system.system.policy.load()
    return {
        "agents": [entry.registration for entry in await system.system.registry.entries()],
        "policy": policy,
        "history": [document.revision for document in await system.system.policy.history()],
        "state": (await state.get(system.system, "worker")).value,
        "revision": (await state.get(system.system, "worker")).revision,
        "dead": [(item.id, item.facts) for item in await dead(system)],
        "dropped": [(item.id, item.facts) for item in await dead(system, dropped=True)],
        "payloads": [await dead_letters.payload(system.system, item.id) for item in await dead(system)],
        "held": await held(system),
        "scheduled": [item.facts for item in await schedule.list_scheduled(system.system)],
        "later": await waiting(system),
    }


async def test_evidence_that_is_behind_a_backup_is_not_bad_unless_it_was_further_when_that_was_made(
    any_url, tmp_path
):
    """Right after a backup the notary may be a moment behind; that signed records are gone is something else."""
    path, early = tmp_path / "one.zip", tmp_path / "early"
    async with live_system(any_url, agents=NAMES) as system:

        def position(evidence):
            with BackupReader(path) as reader:
                return next(
                    item for item in verify(reader, system.keys, evidence=evidence) if "audit" in item.check
                )

        async with notary_of(system):
            await all_signed(system)
            shutil.copytree(evidence_of(system), early)
            await agents.deregister(system.system, "worker")
            await all_signed(system)
        await agents.deregister(system.system, "bank")
        await all_recorded(system)
        await create(system.system, path)

        behind, lost = position(evidence_of(system)), position(early)
        assert (behind.state, "verify again" in behind.detail) == ("unchecked", True)
        assert (lost.state, "evidence ends at record" in lost.detail) == ("bad", True)
        async with notary_of(system):
            await all_signed(system)
        assert position(evidence_of(system)).state == "ok"


async def test_everything_comes_back_into_an_empty_system(server_url, tmp_path):
    """Registry, policy, state, dead letters, messages for later; old tokens work, and the notary signs on."""
    async with filled_system(server_url) as system, notary_of(system):
        path = tmp_path / "one.zip"
        before = await told(system)
        made = await create(system.system, path)
        assert path.stat().st_mode & 0o777 == 0o600
        with BackupReader(path) as reader:
            found = verify(reader, system.keys)
        assert {item.state for item in found} == {"ok", "unchecked"}
        await all_signed(system)

        await lose_store(system)
        done = await put_back(system, path)

        assert await told(system) == before
        assert done.restored == {
            "agents": 3, "policy": len(before["history"]), "states": 1, "dead": 2, "later": 4,
        }  # fmt: skip
        await system.start_gateway()
        worker, alice = await system.run("worker"), await system.run("alice")
        await alice.send("worker", "job.run", {"n": 8})
        await until(lambda: worker.numbers == [8])
        later = before["scheduled"][0]
        assert await schedule.payload(system.system, later.id) == {"n": 4}
        (cancelled,) = await schedule.cancel(system.system, [later.id])
        assert cancelled.error is None
        await dead_letters.retry(system.system, [before["dead"][0][0]])
        await dead_letters.restore(system.system, [before["dropped"][0][0]])
        assert [item.id for item in await dead(system)] == [before["dropped"][0][0]]
        await standings.set_standing(system.system, ["bank"], "active", wait=0)
        bank = await system.run("bank")
        await approvals.decide(system.system, before["held"][0], approved=True)
        await until(lambda: bank.numbers == [1])
        (record,) = await system.audit(kind="operator", type="backup.restore", decision="done")
        assert record.details["change"]["backup"] == made.id
        assert record.details["change"]["restored"]["dead"] == 2
        await until(lambda: signed_to(system, record.seq))
        (status,) = (await until(lambda: status_of(system))).partitions
        assert (status.state, status.sequence) == ("signing", 0)
        assert len(check_evidence(system)) >= record.seq > made.partitions[0].seq


async def test_without_evidence_a_new_log_begins(server_url, tmp_path):
    """Its numbers begin anew, so what is held gets ids that no new message can get; the position is recorded."""
    async with filled_system(server_url) as system:
        made = await create(system.system, tmp_path / "one.zip")
        (approval,) = await held(system)
        await lose_store(system)
        with BackupReader(tmp_path / "one.zip") as reader:
            planned = await plan(system.system, reader)
        assert any("a new log begins" in text for text in warnings_of(planned))
        assert any("counts again" in text for text in warnings_of(planned))
        await put_back(system, tmp_path / "one.zip")

        await system.start_gateway()
        (again,) = await held(system)
        assert again != approval
        await standings.set_standing(system.system, ["bank"], "active", wait=0)
        bank = await system.run("bank")
        await approvals.decide(system.system, again, approved=True)
        await until(lambda: bank.numbers == [1])
        (record,) = await system.audit(kind="operator", type="backup.restore", decision="done")
        position = made.partitions[0]
        assert record.details["change"]["backup_audit"] == [[position.seq, position.head]]
        assert record.seq < position.seq
        assert await system.audit_holds()


async def test_what_was_ended_after_the_backup_stays_ended(server_url, tmp_path):
    """Revoked tokens, removed agents, retried dead letters and decided approvals do not come alive again."""
    async with filled_system(server_url) as system, notary_of(system):
        path = tmp_path / "one.zip"
        await create(system.system, path)
        (letter,) = await dead(system)
        (approval,) = await held(system)
        (carried,) = await dead_letters.retry(system.system, [letter.id])
        assert carried.error is None
        (soon, late) = await schedule.list_scheduled(system.system)
        await schedule.cancel(system.system, [late.id])
        await agents.revoke_token(system.system, "alice")
        await agents.deregister(system.system, "worker")
        await approvals.decide(system.system, approval, approved=False)
        await system.register("worker")
        await agents.deregister(system.system, "worker")
        await all_signed(system)

        await lose_store(system)
        with BackupReader(path) as reader:
            planned = await plan(system.system, reader)
            assert any("the policy was changed" in text for text in warnings_of(planned)) is bool(
                planned.since.policy_changes
            )
            assert not any("counts again" in text for text in warnings_of(planned))
        done = await put_back(system, path)

        assert sorted(done.revoked) == ["alice", "worker"]
        valid = {
            entry.agent_id: any(not key.revoked for key in entry.registration.keys)
            for entry in await system.system.registry.entries()
        }
        assert valid == {"alice": False, "bank": True, "worker": False}
        assert (await dead(system), await held(system)) == ([], [])
        assert [item.id for item in await schedule.list_scheduled(system.system)] == [soon.id]
        await system.start_gateway()
        with pytest.raises(MasError):
            async with system.agent("alice") as alice:
                await alice.send("worker", "job.run", {"n": 1})


async def test_scheduled_messages_come_back_unless_they_are_done_with_since(server_url, tmp_path):
    """Listed, and delivered when they are due; what was delivered or cancelled since stays so."""
    async with (
        live_system(server_url, agents=NAMES, allow=[("alice", "worker")]) as system,
        notary_of(system),
    ):
        path = tmp_path / "one.zip"
        worker = await system.run("worker")
        alice = await system.client("alice")
        for number, seconds in ((1, 1.0), (2, 3600), (3, 3600)):
            await alice.send(
                "worker", "x", {"n": number}, deliver_after=seconds, message_id=f"m{number}", ttl=86_400
            )
        await create(system.system, path)
        await schedule.cancel(system.system, ["m2"])
        await until(lambda: worker.numbers == [1])
        before = await schedule.get(system.system, "m3")
        await all_signed(system)
        await worker.stop()

        await lose_store(system)
        await put_back(system, path)
        await system.start_gateway()
        (found,) = await schedule.list_scheduled(system.system)
        cancelled = await schedule.cancel(system.system, ["m3"])

        assert found.facts == before.facts
        assert cancelled[0].error is None
        assert await waiting(system) == []


async def test_a_restore_over_a_log_that_began_anew_says_what_the_notary_needs(server_url, tmp_path):
    """As where somebody ran the system on the empty store first."""
    path = tmp_path / "one.zip"
    async with live_system(server_url, agents=NAMES) as system, notary_of(system):
        await create(system.system, path)
        await all_signed(system)
        await lose_store(system)
        await system.start_gateway()
        await system.register("alice")

        async def recorded():
            return (await system.store.backups.positions())[0].seq

        await until(recorded)
        with BackupReader(path) as reader:
            told_to_do = warnings_of(await plan(system.system, reader))
        assert any("mas audit resume --accept-restore" in text for text in told_to_do)
        assert (await put_back(system, path, force=True)).restored["agents"] == 3


async def test_a_system_that_is_not_empty_is_replaced_on_demand_only(server_url, tmp_path):
    """With force: what is in the backup is put back, what came since stays, what isolates an agent too."""
    async with filled_system(server_url) as system:
        path = tmp_path / "one.zip"
        before = await told(system)
        await create(system.system, path)
        with pytest.raises(Conflict, match=r"is not empty: it holds agents \(3\)") as refused:
            await put_back(system, path)
        assert refused.value.hint[-1] == f"mas backup restore {path} --force"
        assert await told(system) == before

        token = system.tokens["alice"]
        await agents.revoke_token(system.system, "alice")
        await agents.rotate_token(system.system, "worker", overlap=3600, show=True)
        await system.register("newcomer")
        await standings.set_standing(system.system, ["alice"], "quarantined", wait=0)
        await rbac.revoke(system.system, [before["policy"].rules[0].id])
        await state.set_part(system.system, "worker", "done", 99)
        await put_back(system, path, force=True)

        after = await told(system)
        assert {item.agent_id for item in after["agents"]} == {*NAMES, "newcomer"}
        assert after["policy"].rules == before["policy"].rules
        assert after["policy"].revision > before["policy"].revision
        assert set(after["policy"].standings) == {"alice", "bank"}
        assert after["state"] == {"done": 42}
        assert after["revision"] > before["revision"] + 1
        assert [after[name] for name in ("dead", "dropped", "held", "later")] == [
            before[name] for name in ("dead", "dropped", "held", "later")
        ]
        (alice,) = [item for item in after["agents"] if item.agent_id == "alice"]
        assert all(key.revoked for key in alice.keys)
        (worker,) = [item for item in after["agents"] if item.agent_id == "worker"]
        assert len([key for key in worker.keys if not key.revoked]) == 2
        assert token
        assert await system.audit_holds()


async def test_an_interrupted_restore_is_repeated(server_url, monkeypatch, tmp_path):
    """Whatever step it ended at; the same file goes on, another one is refused, nothing is there twice."""
    async with filled_system(server_url) as system:
        path, other = tmp_path / "one.zip", tmp_path / "other.zip"
        before = await told(system)
        await create(system.system, path)
        await create(system.system, other)
        await lose_store(system)
        for step in ("put_states", "put_policy_versions", "put_letters", "put_later", "end_restore"):
            with monkeypatch.context() as patched:
                patched.setattr(system.store.backups, step, _broken(system.store.backups, step))
                with pytest.raises(ConnectionError):
                    await put_back(system, path)
            with pytest.raises(Conflict, match="was interrupted: repeat it"):
                await put_back(system, other)
        await put_back(system, path)

        after = await told(system)
        # The evidence is not at hand, so what is held has a new id.
        for found in (before, after):
            found["later"] = [name for name in found["later"] if not name.startswith("approval/")]
            found["held"] = len(found["held"])
        assert after == before
        with pytest.raises(Conflict, match="is not empty"):
            await put_back(system, path)


def _broken(backups, step):
    """The step is carried out, and then the connection breaks."""
    real = getattr(backups, step)

    async def broken(*arguments, **options):
        if step != "end_restore":
            await real(*arguments, **options)
        raise ConnectionError

    return broken


async def test_s9_frames_of_before_a_restore_are_not_judged_again(server_url, tmp_path):
    """Sessions are lost with the store: sealed frames that somebody kept are refused, new ones pass (S9)."""
    async with live_system(server_url, agents=NAMES, allow=[("alice", "worker")]) as system:
        client = await system.client("alice")
        kept = []
        add = client._outbox._store.add_frames

        async def keep(frames):
            kept.extend(frames)
            return await add(frames)

        client._outbox._store.add_frames = keep
        async with system.agent("worker") as worker:
            await client.send("worker", "pay", {"n": 1})
            await until(lambda: worker.numbers == [1])
        await client.stop()
        await create(system.system, tmp_path / "one.zip")
        await lose_store(system)
        await put_back(system, tmp_path / "one.zip")
        await system.start_gateway()
        worker = await system.run("worker")
        await system.store.agent("alice").add_frames([item for item in kept if item[1] == "normal"])

        async def refused():
            return await system.audit(type="pay", decision="expired")

        (record,) = await until(refused)
        assert "older than the restore" in record.reason
        alice = await system.run("alice")
        await alice.send("worker", "pay", {"n": 2})
        await until(lambda: worker.numbers == [2])


async def test_what_moves_while_a_backup_is_made_is_in_it_once(server_url, monkeypatch, tmp_path):
    """A message that becomes a dead letter between its two places comes back as a dead letter alone."""
    async with filled_system(server_url) as system:
        read = system.store.backups.letters

        async def letters(partition):
            # Its target is gone, so the gateway gives up what waits for it.
            await agents.deregister(system.system, "worker")
            name = next(name for name in await waiting(system) if name.startswith("worker:"))
            await system.store.connection.call("ZADD", system.store.keys.later(0), 0, name)

            async def died():
                return len(await dead(system)) == 2

            await until(died)
            async for some in read(partition):
                yield some

        monkeypatch.setattr(system.store.backups, "letters", letters)
        made = await create(system.system, tmp_path / "one.zip")
        assert made.parts["later"].lines == 4
        assert len(made.partitions[0].moved) == 1

        await lose_store(system)
        await put_back(system, tmp_path / "one.zip")
        assert len(await dead(system)) == 2
        assert not [name for name in await waiting(system) if name.startswith("worker:")]


async def test_what_nobody_could_restore_is_left_out(server_url, tmp_path):
    """Things in the store that do not carry the gateway's MAC spoil no backup."""
    async with filled_system(server_url) as system:
        before = await told(system)
        call, keys = system.store.connection.call, system.store.keys
        await call("XADD", keys.dead(0), "*", "message_id", "m", "facts", b"\xff" * 40, "body", "x")
        await call("HSET", keys.agent(0, "mallory"), "record", '{"agent_id":"mallory"}', "mac", "x" * 32)
        await call("SADD", keys.agents(0), "mallory", "../x", "\n")
        await call("HSET", keys.later_bodies(0), "orphan", "x")
        made = await create(system.system, tmp_path / "one.zip")
        assert made.ignored == 2

        await lose_store(system)
        await put_back(system, tmp_path / "one.zip", without=["later"])
        after = await told(system)
        assert [after[name] for name in ("agents", "dead")] == [before[name] for name in ("agents", "dead")]
        assert await held(system) == []


async def test_an_interrupted_backup_leaves_no_file(server_url, monkeypatch, tmp_path):
    """Neither under its name nor under another one."""
    async with filled_system(server_url) as system:

        async def letters(_partition):
            yield []
            raise RuntimeError

        monkeypatch.setattr(system.store.backups, "letters", letters)
        with pytest.raises(RuntimeError):
            await create(system.system, tmp_path / "one.zip")
        assert list(tmp_path.iterdir()) == []
        write_private(tmp_path / "two.zip", b"something else")
        with pytest.raises(Conflict, match="is there already"):
            await create(system.system, tmp_path / "two.zip")
        assert (tmp_path / "two.zip").read_bytes() == b"something else"


async def test_several_partitions_come_back_and_no_other_number_of_them(server_url, tmp_path):
    """What is sealed counts for its own partition, so another number is refused before anything is written."""
    names = [f"a{number}" for number in range(8)]
    path = tmp_path / "one.zip"
    async with live_system(server_url, agents=names, partitions=3) as system:
        for number, name in enumerate(names):
            await state.set_part(system.system, name, "n", number)
        made = await create(system.system, path)
        assert len(made.partitions) == 3
        await lose_store(system)
        await put_back(system, path)
        assert [(await state.get(system.system, name)).value["n"] for name in names] == list(range(8))
        assert [meta["layout"] for meta in await system.store.records.metas()] == [b"3"] * 3

        await lose_store(system)
        async with live_system(server_url, namespace=system.store.namespace, limit=None, gateways=0) as other:
            other.system.keys = system.keys
            with (
                BackupReader(path) as reader,
                pytest.raises(Conflict, match="3 partitions, and this system has 1"),
            ):
                await plan(other.system, reader)
            assert (await other.store.backups.occupancy()).is_empty


async def test_marks_of_a_restore_that_did_not_begin_or_has_ended_count_for_nothing(server_url, tmp_path):
    """Wherever between its partitions it was interrupted: before the first write, or after the last one."""
    path = tmp_path / "one.zip"
    async with live_system(server_url, agents=["a0", "a1"], partitions=3) as system:
        made = await create(system.system, path)
        await lose_store(system)
        call, keys = system.store.connection.call, system.store.keys
        for partition in (1, 2):
            await call("HSET", keys.restore_mark(partition), "backup", made.id, "dead", 7, "later", 7)
        await put_back(system, path)
        assert await system.store.backups.marks() == [None] * 3

        await call("HSET", keys.restore_mark(2), "backup", made.id, "dead", 7)
        with pytest.raises(Conflict, match="is not empty"):
            await put_back(system, path)


async def test_a_backup_of_another_system_is_refused(server_url, tmp_path):
    """Other keys, or another name, and nothing is written."""
    path = tmp_path / "one.zip"
    async with (
        live_system(server_url, agents=["alice"]) as system,
        live_system(server_url, gateways=0) as other,
    ):
        await create(system.system, path)
        with (
            BackupReader(path) as reader,
            pytest.raises(BackupInvalid, match="was made with the gateway key"),
        ):
            await plan(other.system, reader)
        other.system.keys = system.keys
        with BackupReader(path) as reader, pytest.raises(Conflict, match="of the namespace"):
            await plan(other.system, reader)


async def test_a_cluster_is_backed_up_and_restored(cluster, tmp_path):
    """States of agents on every node, those of agents that are gone too, and what waits in every partition."""
    names = [f"a{number}" for number in range(12)]
    async with live_system(cluster.url, agents=names, allow=[("a0", "*")], partitions=6) as system:
        for number, name in enumerate(names):
            await state.set_part(system.system, name, "n", number)
        alice = await system.client("a0")
        for name in names[1:]:
            await alice.send(name, "x", {"n": 1}, deliver_after=3600)
        await alice.stop()
        await agents.deregister(system.system, "a11")
        made = await create(system.system, tmp_path / "one.zip")
        assert {name: facts.lines for name, facts in made.parts.items() if name != "policy"} == {
            "agents": 11, "states": 12, "later": 11, "dead": 0, "circuits": 0,
        }  # fmt: skip
        await system.gateway_stack.aclose()
        await lose_store(system)
        await put_back(system, tmp_path / "one.zip")
        assert len(await schedule.list_scheduled(system.system)) == 11
        assert [(await state.get(system.system, name)).value for name in names[:11]] == [
            {"n": number} for number in range(11)
        ]
        assert await system.store.backups.agents_with_state() == sorted(names)
