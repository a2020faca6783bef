"""Old records leave the store only when they are safe elsewhere."""

from __future__ import annotations

import asyncio
import signal
import sys
import textwrap

import pytest
from support.evidence_folders import compressed, tree_hashes
from support.followed_evidence import new_evidence
from support.systems import live_system

from mas_core.audit.archive import Archive, archived_name
from mas_core.audit.archive_target import FolderTarget
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.trimming import MAX_SKEW_MS, Trimmer
from mas_core.base.clock import now_ms
from mas_core.errors import ArchiveUnavailable, EvidenceDamaged

DAY_MS = 86_400_000


@pytest.fixture
async def system(server_url):
    """alice has sent 100 messages to bob, one after the other."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        client = await opened.client("alice")
        await opened.run("bob")
        for number in range(100):
            await client.send("bob", "note", {"n": number})
        yield opened


@pytest.fixture
async def evidence(system):
    """The evidence of that: segments of 32 records, and a checkpoint over all."""
    made = new_evidence(system.folder, system.store.namespace)
    await made.follow(system.store.records)
    return made


@pytest.fixture
def archive(system, evidence, tmp_path):
    """An archive in a folder."""
    (tmp_path / "cold").mkdir()
    return Archive(evidence.folder, evidence.keys, FolderTarget(tmp_path / "cold" / "system"))


def trimmer(system, evidence, archive=None, **options):
    return Trimmer(system.store.records, evidence.folder, 0, evidence.keys.public, archive=archive, **options)


async def seqs(system):
    """Numbers of the records that the store holds."""
    return [
        number
        async for block in system.store.records.audit_blocks(0)
        for number in range(block.last_seq - len(block.records()) + 1, block.last_seq + 1)
    ]


async def untouched(system, before):
    return await seqs(system) == before


async def edit_in_store(system, position):
    """Somebody with the server's password changes one record in its block."""
    connection, key = system.store.connection, system.store.keys.audit(0)
    entries = await connection.call("XRANGE", key, "-", "+")
    await connection.call("DEL", key)
    for index, (entry, fields) in enumerate(entries):
        value = fields[1].replace(b'"allowed"', b'"blocked"') if index == position else fields[1]
        await connection.call("XADD", key, entry, fields[0], value)


async def test_what_is_in_signed_segments_is_taken_out(system, evidence):
    """The rest, which is in the open segment, stays, and the newest record in any case."""
    before = await seqs(system)
    closed = EvidenceReader(evidence.folder, 0).segments()[-1].last

    done = await trimmer(system, evidence, run_records=40).trim(0)

    assert done.problem is None
    after = await seqs(system)
    assert before[: done.last] == list(range(1, done.last + 1))
    assert after == before[done.last :]
    assert 64 < done.last <= closed
    assert done.records == done.last
    assert "in no closed segment" in done.stopped


async def test_the_gateway_goes_on_and_is_taken_over_after_trimming(system, evidence):
    """What is recorded after it continues the chain that is in the evidence."""
    await trimmer(system, evidence).trim(0)
    client = await system.client("alice")
    await client.send("bob", "note", {"n": "after"})
    await system.gateway_stack.aclose()
    await system.start_gateway()
    await client.send("bob", "note", {"n": "again"})

    size = await evidence.follow(system.store.records)

    assert size == (await system.store.records.audit_head(0))[0]
    assert [number for number, _ in EvidenceReader(evidence.folder, 0).records()] == list(range(1, size + 1))


async def test_a_dry_run_takes_nothing_out(system, evidence):
    """And says how many records would go."""
    before = await seqs(system)

    done = await trimmer(system, evidence).trim(0, dry_run=True)

    assert done.records > 64
    assert await untouched(system, before)


async def test_young_records_stay(system, evidence):
    """The hot period counts by the server's clock."""
    before = await seqs(system)

    done = await trimmer(system, evidence).trim(90 * DAY_MS)

    assert (done.records, done.problem) == (0, None)
    assert "younger than the hot period" in done.stopped
    assert await untouched(system, before)


@pytest.mark.parametrize("ahead", [-MAX_SKEW_MS - 60_000, MAX_SKEW_MS + 60_000])
async def test_a_clock_that_jumped_stops_everything(system, evidence, ahead):
    """The server's clock counts only while it agrees with that of this machine."""
    before = await seqs(system)

    done = await trimmer(system, evidence, clock=lambda: now_ms() + ahead).trim(0)

    assert done.records == 0
    assert "minutes apart" in done.stopped
    assert await untouched(system, before)


async def test_a_clock_that_went_back_stops_everything(system, evidence, monkeypatch):
    """A checkpoint from the future: the server's clock was changed since."""
    before = await seqs(system)
    real = await system.store.records.time_ms()

    async def earlier():
        return real - 120_000

    monkeypatch.setattr(system.store.records, "time_ms", earlier)
    done = await trimmer(system, evidence).trim(0)

    assert "before the newest checkpoint" in done.stopped
    assert await untouched(system, before)


async def test_without_a_checkpoint_nothing_goes(system):
    """Closed segments alone prove nothing."""
    made = new_evidence(system.folder, system.store.namespace)
    await made.follow(system.store.records, checkpoint=False)
    before = await seqs(system)

    done = await trimmer(system, made).trim(0)

    assert made.segments()
    assert (done.records, done.stopped) == (0, "there is no checkpoint yet")
    assert await untouched(system, before)


async def test_what_the_newest_checkpoint_does_not_cover_stays(system, evidence):
    """Segments that were closed after it are not taken for covered."""
    covered = await evidence.follow(system.store.records)
    client = await system.client("alice")
    for number in range(80):
        await client.send("bob", "note", {"n": number})
    await evidence.follow(system.store.records, checkpoint=False)
    assert EvidenceReader(evidence.folder, 0).segments()[-1].last > covered

    done = await trimmer(system, evidence).trim(0)

    assert 0 < done.last <= covered


async def test_a_forged_checkpoint_stops_everything(system, evidence):
    """Its signature is checked each time."""
    before = await seqs(system)
    path = evidence.place() / "checkpoints"
    text = path.read_bytes()
    size = str(len(before)).encode()
    path.write_bytes(text.replace(b"\n" + size + b"\n", b"\n" + str(len(before) - 1).encode() + b"\n", 1))
    assert path.read_bytes() != text

    done = await trimmer(system, evidence).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    assert await untouched(system, before)


async def test_a_checkpoint_of_a_strange_key_stops_everything(system, evidence, tmp_path):
    """Whoever replaced key and checkpoints has not the keys that are asked for."""
    before = await seqs(system)
    other = new_evidence(tmp_path, system.store.namespace)
    await other.follow(system.store.records)

    done = await Trimmer(system.store.records, other.folder, 0, evidence.keys.public).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    assert "none of the keys" in done.stopped
    assert await untouched(system, before)


async def test_a_corrupt_segment_is_named_and_nothing_goes(system, evidence):
    """A byte of it has changed on the disk."""
    before = await seqs(system)
    path = evidence.segments()[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    done = await trimmer(system, evidence).trim(0)

    assert done.problem is not None
    assert path.name in done.stopped
    assert await untouched(system, before)


async def test_a_segment_with_another_record_is_found_although_it_is_whole(system, evidence):
    """Somebody wrote it anew, hashes and all; the signed root does not have it."""
    before = await seqs(system)
    records = [record for _, record in EvidenceReader(evidence.folder, 0).records()]
    forged = [record.replace(b'"n"', b'"m"') for record in records]
    forged[10] = records[10].replace(b'"time":', b'"time":1')
    evidence.segments()[0].write_bytes(compressed(forged[:32]))
    (evidence.place() / "hashes").write_bytes(tree_hashes(forged))
    done = await trimmer(system, evidence).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    assert "not those that were signed" in done.stopped
    assert await untouched(system, before)


async def test_a_missing_segment_stops_the_trimming_before_it(system, evidence):
    """What was before it may go, nothing after it."""
    before = await seqs(system)
    second = EvidenceReader(evidence.folder, 0).segments()[1]
    second.path.unlink()

    done = await trimmer(system, evidence, run_records=1).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    assert done.last < second.first
    assert await seqs(system) == before[done.last :]


async def test_a_record_that_differs_in_the_store_is_named_and_stays(system, evidence):
    """What somebody changed in the store is a trace, and traces are not removed."""
    await edit_in_store(system, 30)
    before = await seqs(system)

    done = await trimmer(system, evidence).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    entries = [block async for block in system.store.records.audit_blocks(0)]
    records = [record for _, record in EvidenceReader(evidence.folder, 0).records()]
    stored = [record for block in entries for record in block.records()]
    bad = next(at for at, pair in enumerate(zip(records, stored, strict=False), 1) if pair[0] != pair[1])
    assert done.problem.details["first_bad"] == bad
    assert await untouched(system, before)


async def test_a_store_that_was_rolled_back_is_not_trimmed(system, evidence):
    """It ends before what was signed: somebody put back yesterday's copy."""
    connection, store = system.store.connection, system.store
    await system.gateway_stack.aclose()
    await connection.call("HSET", store.keys.meta(0), "audit_seq", 50)
    before = await seqs(system)

    done = await trimmer(system, evidence).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    assert await untouched(system, before)


async def test_a_store_that_does_not_continue_the_evidence_is_not_trimmed(system, evidence):
    """Its old records are those that were signed, the newest is another: somebody has to look first."""
    size = EvidenceReader(evidence.folder, 0).size
    connection, key = system.store.connection, system.store.keys.audit(0)
    (newest,) = await connection.call("XREVRANGE", key, "+", "-", "COUNT", 1)
    await connection.call("XDEL", key, newest[0])
    await connection.call(
        "XADD", key, f"{size}-1", newest[1][0], newest[1][1].replace(b"allowed", b"blocked")
    )
    before = await seqs(system)

    done = await trimmer(system, evidence).trim(0)

    assert isinstance(done.problem, EvidenceDamaged)
    assert done.problem.details["first_bad"] == size
    assert await untouched(system, before)


async def test_what_is_not_archived_yet_stays(system, evidence, archive):
    """Where there is an archive, it has to have the segment first."""
    before = await seqs(system)

    done = await trimmer(system, evidence, archive).trim(0)
    assert "not in the archive yet" in done.stopped
    assert await untouched(system, before)

    archive.copy_partition(0)
    assert (await trimmer(system, evidence, archive).trim(0)).records > 64


async def test_a_copy_that_is_damaged_is_made_anew_before_anything_goes(system, evidence, archive, tmp_path):
    """The archive is read again right before trimming, whenever it was written."""
    archive.copy_partition(0)
    name = archived_name(EvidenceReader(evidence.folder, 0).segments()[0])
    copy = tmp_path / "cold" / "system" / name
    whole = copy.read_bytes()
    copy.write_bytes(whole[: len(whole) // 2])

    done = await trimmer(system, evidence, archive).trim(0)

    assert done.records > 64
    assert copy.read_bytes() == whole


async def test_a_copy_that_cannot_be_mended_stops_the_trimming(system, evidence, archive, tmp_path):
    """The archive is gone, or takes nothing."""
    archive.copy_partition(0)
    before = await seqs(system)
    (tmp_path / "cold" / "system").rename(tmp_path / "away")
    (tmp_path / "cold" / "system").write_bytes(b"")

    done = await trimmer(system, evidence, archive).trim(0)

    assert done.records == 0
    assert await untouched(system, before)
    assert isinstance(done.problem, ArchiveUnavailable) or "not in the archive" in done.stopped


KILLED = textwrap.dedent(
    """
    import asyncio, os, signal, sys
    from pathlib import Path
    from mas_core.audit.archive import Archive
    from mas_core.audit.archive_target import FolderTarget
    from mas_core.audit.checkpoint_keys import CheckpointKeys
    from mas_core.audit.trimming import Trimmer
    from mas_core.store.store import Store

    url, namespace, folder, cold = sys.argv[1:]
    keys = CheckpointKeys(Path(folder), Path(folder).with_name("audit-keys"), namespace)

    async def main():
        store = Store(url, namespace=namespace)
        archive = Archive(Path(folder), keys, FolderTarget(Path(cold)))
        archive.copy_partition(0)

        async def die(partition, first_kept):
            os.kill(os.getpid(), signal.SIGKILL)

        store.records.trim_audit = die
        await Trimmer(store.records, Path(folder), 0, keys.public, archive=archive).trim(0)

    asyncio.run(main())
    """
)


async def test_killed_between_archive_and_trim_nothing_is_lost(system, evidence, archive, tmp_path):
    """The store still has everything, the archive too, and the next run goes on."""
    before = await seqs(system)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, system.system.target.url, system.store.namespace,
        str(evidence.folder), str(tmp_path / "cold" / "system"),
    )  # fmt: skip

    assert await process.wait() == -signal.SIGKILL
    assert await untouched(system, before)
    done = await trimmer(system, evidence, archive).trim(0)
    assert done.problem is None
    assert await seqs(system) == before[done.last :]


async def test_trimming_twice_is_like_trimming_once(system, evidence):
    """An interrupted run is simply run again."""
    first = await trimmer(system, evidence).trim(0)
    after = await seqs(system)

    second = await trimmer(system, evidence).trim(0)

    assert first.records > 64
    assert second.records == 0
    assert await untouched(system, after)
