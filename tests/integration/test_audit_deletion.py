"""Old segments go only when every policy says so, and leave a signed note and their hashes."""

from __future__ import annotations

import pytest
from support.evidence_folders import build_records
from support.followed_evidence import new_evidence
from support.systems import new_namespace

from mas_core.audit.archive import Archive
from mas_core.audit.archive_target import FolderTarget
from mas_core.audit.deleted_records import read_deleted
from mas_core.audit.deletion import MAX_SILENCE_MS, Deletion
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.folder_verify import verify_folder
from mas_core.audit.record_proof import prove_records, signed_checkpoint
from mas_core.audit.restoring import restore_folder, restore_missing
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.base.clock import now_ms
from mas_core.errors import EvidenceDamaged
from mas_core.model.retention import RetentionRule
from mas_core.store.store import Store

RECORDS = build_records(300)
"""They are of 2023."""
YEARS_GONE = RetentionRule(90, 1, delete=True)


@pytest.fixture
async def store(server_url):
    """An empty store: all records were trimmed."""
    opened = Store(server_url, namespace=new_namespace())
    await opened.records._connection.call("HSET", opened.keys.meta(0), "audit_seq", 300, "audit_head", "x")
    yield opened
    await opened.close()


def grown(tmp_path, time):
    made = new_evidence(tmp_path, "mas")
    writer = EvidenceWriter(made.folder, 0, made.keys, segment_records=64)
    writer.append(RECORDS)
    writer.checkpoint(time)
    writer.close()
    return made


@pytest.fixture
def evidence(tmp_path):
    """300 records of 2023, and a checkpoint of just now."""
    return grown(tmp_path, now_ms() - 1000)


@pytest.fixture
def archive(evidence, tmp_path):
    """The archive with all closed segments."""
    (tmp_path / "cold").mkdir()
    made = Archive(evidence.folder, evidence.keys, FolderTarget(tmp_path / "cold" / "mas-1"))
    made.copy_partition(0)
    return made


def deletion(store, evidence, archive=None, **options):
    return Deletion(store.records, evidence.folder, 0, evidence.keys, archive=archive, **options)


async def test_old_segments_go_and_the_rest_still_proves(store, evidence, archive):
    """Here and in the archive; note, hashes and checkpoints stay, and the newest closed segment too."""
    names = [path.name for path in evidence.segments()]
    copies = store.keys.payload_copies(0)
    await store.records._connection.call("HSET", copies, 1, "x", 192, "x", 193, "x")
    done = await deletion(store, evidence, archive).run(YEARS_GONE)

    assert (done.problem, list(done.segments)) == (None, names[:3])
    assert [path.name for path in evidence.segments()] == names[3:]
    assert [name for name in archive.target.names() if name.endswith(".zst")] == [f"p0/{names[3]}"]
    with EvidenceReader(evidence.folder, 0) as reader:
        noted = read_deleted(reader.path, 0, evidence.keys.public)
        assert (noted.last, "1 years" in noted.policy) == (192, True)
        checkpoint = signed_checkpoint(reader, evidence.keys.public)
        assert prove_records(reader, checkpoint, 193, 300)
    assert archive.copy_partition(0).segments == ()
    assert await store.records._connection.call("HKEYS", copies) == [b"193"]
    verdict = verify_folder(evidence.folder, 0, trusted_keys(evidence.folder, evidence.keys.public))
    assert (verdict.ok, verdict.first, verdict.verified_to) == (True, 193, 300)
    assert "records 1 to 192 were deleted under" in verdict.notes[0]


async def test_a_segment_that_somebody_else_removed_is_missed(store, evidence):
    """Without the note it is missing evidence, whatever a policy says."""
    evidence.segments()[0].unlink()

    verdict = verify_folder(evidence.folder, 0, trusted_keys(evidence.folder, evidence.keys.public))

    assert (verdict.ok, verdict.kind, verdict.first_bad) == (False, "segment_missing", 1)


async def test_the_log_goes_on_after_a_deletion(store, evidence):
    """The writer takes up the folder as before, also when its hashes have to be computed anew."""
    await deletion(store, evidence).run(YEARS_GONE)
    more = build_records(400)
    (evidence.place() / "open.jsonl").unlink()

    writer = EvidenceWriter(evidence.folder, 0, evidence.keys, segment_records=64)
    writer.append(more[writer.size :])
    writer.checkpoint(now_ms())
    writer.close()

    with EvidenceReader(evidence.folder, 0) as reader:
        assert [number for number, _ in reader.records()] == list(range(193, 401))
        assert prove_records(reader, signed_checkpoint(reader, evidence.keys.public), 193, 400)


async def test_a_folder_comes_back_after_a_deletion(store, evidence, archive, tmp_path):
    """With the hashes of what was deleted, so that its tree is whole."""
    await deletion(store, evidence, archive).run(YEARS_GONE)
    restore_missing(evidence.folder, evidence.keys.public, archive.target)
    assert len(evidence.segments()) == 1

    restore_folder(archive.target, tmp_path / "again")

    with EvidenceReader(tmp_path / "again", 0) as reader:
        assert [number for number, _ in reader.records()] == list(range(193, 257))
        assert reader.hash_count > 256
        assert prove_records(reader, signed_checkpoint(reader, evidence.keys.public), 193, 256)
    again = tmp_path / "again"
    verdict = verify_folder(again, 0, trusted_keys(again, evidence.keys.public))
    assert (verdict.ok, verdict.first, verdict.verified_to) == (True, 193, 256)


async def test_what_was_interrupted_is_finished(store, evidence, archive, monkeypatch):
    """The note is there, and not everything went: the next run deletes the rest, and signs nothing."""
    first = deletion(store, evidence, archive)

    def stop(_segment):
        raise KeyboardInterrupt

    monkeypatch.setattr(first, "_remove", stop)
    with pytest.raises(KeyboardInterrupt):
        await first.run(YEARS_GONE)
    note = (evidence.place() / "deleted").read_bytes()
    assert len(evidence.segments()) == 4

    done = await deletion(store, evidence, archive).run(YEARS_GONE)

    assert len(done.segments) == 3
    assert len(evidence.segments()) == 1
    assert (evidence.place() / "deleted").read_bytes() == note


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (RetentionRule(90, 1), "no policy says"),
        (RetentionRule(90, 100, delete=True), "has records of 2023"),
    ],
)
async def test_without_a_policy_that_says_so_nothing_goes(store, evidence, rule, why):
    """Nor before the years are over."""
    done = await deletion(store, evidence).run(rule)

    assert done.segments == ()
    assert why in done.stopped
    assert len(evidence.segments()) == 4


async def test_a_dry_run_deletes_nothing(store, evidence, archive):
    """And names what would go."""
    before = archive.target.names()
    done = await deletion(store, evidence, archive).run(YEARS_GONE, dry_run=True)

    assert len(done.segments) == 3
    assert len(evidence.segments()) == 4
    assert archive.target.names() == before
    assert not (evidence.place() / "deleted").exists()


async def test_a_clock_that_jumped_deletes_nothing(store, evidence):
    """The two clocks have to agree."""
    done = await deletion(store, evidence, clock=lambda: now_ms() + 3_600_000).run(YEARS_GONE)

    assert done.segments == ()
    assert "minutes apart" in done.stopped


@pytest.mark.parametrize("shift", [-MAX_SILENCE_MS - 60_000, 60_000])
async def test_a_clock_that_the_log_does_not_bear_out_deletes_nothing(store, tmp_path, shift):
    """Both clocks jumped: the newest checkpoint is from long ago, or from the future."""
    evidence = grown(tmp_path, now_ms() + shift)

    done = await deletion(store, evidence).run(YEARS_GONE)

    assert done.segments == ()
    assert "doubtful" in done.stopped


async def test_what_is_still_in_the_store_is_not_deleted(store, evidence):
    """Trimming comes first, with all that it looks at."""
    connection, key = store.records._connection, store.keys.audit(0)
    await connection.call("XADD", key, "100-0", "r", b"\n".join(RECORDS[80:100]))

    done = await deletion(store, evidence).run(YEARS_GONE)

    assert [name[:12] for name in done.segments] == ["000000000001"]
    assert "still in the store" in done.stopped


async def test_a_segment_that_is_not_what_was_signed_is_not_deleted(store, evidence):
    """It may be a trace."""
    path = evidence.segments()[0]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)

    done = await deletion(store, evidence).run(YEARS_GONE)

    assert done.problem is not None
    assert len(evidence.segments()) == 4


async def test_a_forged_note_is_not_believed(store, evidence, tmp_path):
    """Whoever removes a segment without the key cannot say that a policy did."""
    await deletion(store, evidence).run(YEARS_GONE)
    path = evidence.place() / "deleted"
    path.write_bytes(path.read_bytes().replace(b"records 1 192", b"records 1 193"))

    with pytest.raises(EvidenceDamaged, match="does not hold"):
        read_deleted(evidence.place(), 0, evidence.keys.public)
    (tmp_path / "x").mkdir()
    other = grown(tmp_path / "x", now_ms() - 1000)
    await deletion(store, other).run(YEARS_GONE)
    path.write_bytes((other.place() / "deleted").read_bytes())
    with pytest.raises(EvidenceDamaged, match="no key of this log"):
        read_deleted(evidence.place(), 0, evidence.keys.public)
