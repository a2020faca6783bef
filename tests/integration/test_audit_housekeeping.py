"""Archive, trim and delete by themselves, as policy and settings say; the system goes on meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import yaml
from support.evidence_folders import compressed
from support.followed_evidence import Evidence
from support.systems import live_system
from support.waiting import until

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.model.retention import RetentionRule
from mas_core.ops import audit, audit_exports, notary
from mas_core.ops import housekeeping as housekeeping_module
from mas_core.ops.housekeeping import Housekeeping
from mas_core.settings.project import project_at


@pytest.fixture(params=[1, 3], ids=["one partition", "three partitions"])
async def system(request, server_url):
    """alice has sent 120 messages to bob and carol; the folder of the system is a project with an archive."""
    names = ["alice", "bob", "carol"]
    async with live_system(
        server_url, agents=names, allow=[("alice", "bob"), ("alice", "carol")], partitions=request.param
    ) as opened:
        client = await opened.client("alice")
        await opened.run("bob")
        await opened.run("carol")
        for number in range(120):
            await client.send(("bob", "carol")[number % 2], "note", {"n": number})
        (opened.folder / "cold").mkdir()
        settings = {"gateway": {"audit": {"archive": {"url": "cold", "every_s": 1}}}}
        (opened.folder / "mas.yaml").write_text(
            yaml.safe_dump(
                {
                    "namespace": opened.store.namespace,
                    "partitions": opened.store.partitions,
                    "url": opened.system.target.url,
                    **settings,
                }
            )
        )
        yield opened


async def signed(system) -> Evidence:
    """The evidence as the notary would have it now, in segments of 16."""
    folder = system.folder / ".mas" / "audit"
    made = Evidence(folder, CheckpointKeys(folder, system.folder / ".mas" / "keys", system.store.namespace))
    for partition in range(system.store.partitions):
        await made.follow(system.store.records, partition=partition, segment=16)
    return made


def keeper(system) -> Housekeeping:
    return Housekeeping(replace(system.system.target, project=project_at(system.folder)))


async def adopt(system, **rule):
    await system.change_policy(retention={"ours": RetentionRule(**rule)})


async def in_store(system):
    """How many records the store holds."""
    return sum(
        [
            len(block.records())
            for partition in range(system.store.partitions)
            async for block in system.store.records.audit_blocks(partition)
        ]
    )


async def test_segments_are_archived_and_old_records_leave_the_store(system):
    """And what is sent afterwards continues the evidence."""
    evidence = await signed(system)
    await adopt(system, hot_days=0)
    before = await in_store(system)

    run = await keeper(system).once()

    assert all(kept.problem is None for kept in run.partitions)
    copied = sum(len(kept.copied) for kept in run.partitions)
    assert copied == len(list((system.folder / "cold").rglob("*.jsonl.zst"))) > 2
    assert sum(kept.trimmed for kept in run.partitions) > 0
    assert await in_store(system) < before
    client = await system.client("alice")
    await client.send("bob", "note", {"n": "after"})
    await system.gateway_stack.aclose()
    await system.start_gateway()
    await client.send("carol", "note", {"n": "taken over"})
    again = await signed(system)
    for partition in range(system.store.partitions):
        size = (await system.store.records.audit_head(partition))[0]
        with EvidenceReader(evidence.folder, partition) as reader:
            assert [number for number, _ in reader.records()] == list(range(1, size + 1))
    assert again.segments() >= evidence.segments()


async def test_a_trimmed_system_is_listed_verified_and_exported_as_before(system, tmp_path):
    """From the segments on: what the store no longer has comes from the evidence."""
    await signed(system)
    opened = system.system
    before = {(item.partition, item.record.seq): item.text async for item in audit.records(opened)}
    await adopt(system, hot_days=0)
    run = await keeper(system).once()
    assert sum(kept.trimmed for kept in run.partitions) > 0
    await signed(system)

    after = {(item.partition, item.record.seq): item.text async for item in audit.records(opened)}
    assert {key: after[key] for key in before} == before
    results = await audit.verify(opened)
    assert [item.result.problem for item in results if not item.result.ok] == []
    assert len(results) == 2 * system.store.partitions
    trimmed = next(kept.partition for kept in run.partitions if kept.trimmed)
    (first,) = await audit.get(opened, f"{trimmed}:1")
    assert first.text == before[trimmed, 1]
    pieces: list[bytes] = []
    done = await audit_exports.export(opened, "jsonl", pieces.append)
    assert all(item.result.ok for item in done.partitions)
    assert set(b"".join(pieces).splitlines()) >= set(before.values())


async def test_a_system_of_which_records_were_deleted_goes_on_as_before(system):
    """What a policy deleted is not missed: neither by queries, nor by exports, nor by verification."""
    await signed(system)
    await adopt(system, hot_days=0, archive_years=0, delete=True)
    run = await keeper(system).once()
    assert all(kept.problem is None for kept in run.partitions)
    gone = {kept.partition: int(kept.deleted[-1][13:25]) for kept in run.partitions if kept.deleted}
    assert gone
    warnings: list[str] = []

    found = [item async for item in audit.records(system.system, warn=warnings.append)]
    pieces: list[bytes] = []
    done = await audit_exports.export(system.system, "jsonl", pieces.append, warn=warnings.append)

    for partition in range(system.store.partitions):
        size = (await system.store.records.audit_head(partition))[0]
        seqs = {item.record.seq for item in found if item.partition == partition}
        assert seqs >= set(range(gone.get(partition, 0) + 1, size - 3))
        assert min(seqs, default=0) == (gone.get(partition, 0) + 1 if seqs else 0)
    assert all(item.result.ok for item in done.partitions)
    assert warnings == []
    results = await audit.verify(system.system)
    assert [item.result.problem for item in results if not item.result.ok] == []
    await signed(system)
    assert [item.result.problem for item in await audit.verify(system.system) if not item.result.ok] == []


async def test_an_edit_in_a_trimmed_store_is_found(system):
    """The first record that is left links to one that only the evidence has."""
    await signed(system)
    await adopt(system, hot_days=0)
    run = await keeper(system).once()
    kept = next(kept for kept in run.partitions if kept.trimmed)
    await system.gateway_stack.aclose()
    connection, key = system.store.connection, system.store.keys.audit(kept.partition)
    entries = await connection.call("XRANGE", key, "-", "+")
    await connection.call("DEL", key)
    for index, (entry, fields) in enumerate(entries):
        value = fields[1].replace(b'"time":1', b'"time":2', 1) if index == 0 else fields[1]
        await connection.call("XADD", key, entry, fields[0], value)

    bad = [
        item
        for item in await audit.verify(system.system)
        if not item.result.ok and item.partition == kept.partition
    ]

    assert [item.result.first_bad for item in bad] == [kept.trimmed_to + 1]


async def test_a_run_is_recorded_when_it_does_something_only(system):
    """Begun and done, as an act of the operator that the process runs as."""
    await signed(system)
    housekeeping = keeper(system)

    async def recorded():
        return [record.decision for record in await system.audit(type="audit.archive")] == ["begun", "done"]

    assert (await housekeeping.once()).partitions
    await until(recorded)
    assert not any(kept.copied for kept in (await housekeeping.once()).partitions)
    client = await system.client("alice")
    await client.send("bob", "note", {"n": "after"})
    assert await recorded()


async def test_without_policy_and_archive_nothing_is_done(system):
    """Not even looked at."""
    await signed(system)
    (system.folder / "mas.yaml").write_text("{}\n")
    before = await in_store(system)

    assert await keeper(system).once() is None
    assert await in_store(system) == before


async def test_what_is_wrong_is_told_and_heals_by_itself(system):
    """The archive is not mounted, then it is."""
    await signed(system)
    await adopt(system, hot_days=0)
    housekeeping = keeper(system)
    (system.folder / "cold").rmdir()
    before = await in_store(system)

    await housekeeping.once()
    assert "not there" in housekeeping.problem
    assert await in_store(system) >= before

    (system.folder / "cold").mkdir()
    await housekeeping.once()
    assert housekeeping.problem == ""
    assert await in_store(system) < before


async def test_a_damaged_partition_does_not_hold_up_the_others(system):
    """It is named, and nothing of it is trimmed."""
    evidence = await signed(system)
    await adopt(system, hot_days=0)
    broken = next(number for number in range(system.store.partitions) if evidence.segments(number))
    records = [record for _, record in EvidenceReader(evidence.folder, broken).records(1, 16)]
    evidence.segments(broken)[0].write_bytes(compressed([records[1], records[0], *records[2:]]))

    housekeeping = keeper(system)
    run = await housekeeping.once()

    found = run.partitions[broken]
    assert (found.trimmed, found.problem is not None) == (0, True)
    assert found.problem.message in housekeeping.problem
    others = [
        kept for kept in run.partitions if kept.partition != broken and evidence.segments(kept.partition)
    ]
    assert all(kept.problem is None and kept.copied for kept in others)


async def test_runs_come_now_and_then_until_they_are_told_to_stop(system, monkeypatch):
    """As the notary's process makes them."""
    monkeypatch.setattr(housekeeping_module, "FIRST_S", 0.01)
    await signed(system)
    await adopt(system, hot_days=0)
    before = await in_store(system)
    stop = asyncio.Event()
    running = asyncio.create_task(keeper(system).run(stop))

    async def shrunk():
        return await in_store(system) < before

    await until(shrunk)
    stop.set()
    await asyncio.wait_for(running, 5)


async def test_the_notary_shows_what_is_wrong_with_the_archive(system, monkeypatch):
    """In its heartbeat, while it signs on; the alarm goes when the archive is there again."""
    monkeypatch.setattr(housekeeping_module, "FIRST_S", 0.01)
    await signed(system)
    (system.folder / "cold").rmdir()
    stop = asyncio.Event()
    target = replace(system.system.target, project=project_at(system.folder))
    running = asyncio.create_task(notary.serve_evidence(target, stop))

    async def alarms():
        found = (await notary.notaries_status(system.system)).notaries
        return [alarm for item in found for alarm in item.alarms] if found else None

    async def is_alarmed():
        return any("not there" in alarm for alarm in await alarms() or ())

    async def is_calm():
        return await alarms() == []

    await until(is_alarmed)
    (system.folder / "cold").mkdir()
    await until(is_calm)
    assert list((system.folder / "cold").rglob("*.jsonl.zst"))
    stop.set()
    await asyncio.wait_for(running, 10)
