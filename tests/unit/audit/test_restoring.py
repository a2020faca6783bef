"""What comes back from an archive is what was signed, or does not come back."""

from __future__ import annotations

import pytest
from support.evidence_folders import START, build_records, compressed
from support.followed_evidence import new_evidence

from mas_core.audit.archive import Archive
from mas_core.audit.archive_target import FolderTarget
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.folder_verify import verify_folder
from mas_core.audit.restoring import restore_folder, restore_missing
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.errors import ArchiveUnavailable, Conflict, EvidenceDamaged, MasError, NotFound

RECORDS = build_records(300)


@pytest.fixture
def evidence(tmp_path):
    """Two partitions of 300 records: four closed segments of 64 each, and the rest open."""
    made = new_evidence(tmp_path, "mas")
    for partition in (0, 1):
        writer = EvidenceWriter(made.folder, partition, made.keys, segment_records=64)
        writer.append(RECORDS)
        writer.checkpoint(START)
        writer.close()
    return made


@pytest.fixture
def target(evidence, tmp_path):
    """Their archive."""
    (tmp_path / "cold").mkdir()
    made = FolderTarget(tmp_path / "cold" / "mas-1")
    for partition in (0, 1):
        Archive(evidence.folder, evidence.keys, made).copy_partition(partition)
    return made


def records_of(folder, partition=0):
    with EvidenceReader(folder, partition) as reader:
        return [record for _, record in reader.records()]


def test_segments_that_lack_come_back(evidence, target):
    """Those that are there stay as they are."""
    lost = [evidence.segments()[1], evidence.segments(1)[0]]
    for path in lost:
        path.unlink()

    done = restore_missing(evidence.folder, evidence.keys.public, target)

    assert set(done.segments) == {f"{path.parent.name}/{path.name}" for path in lost}
    assert records_of(evidence.folder) == records_of(evidence.folder, 1) == RECORDS
    assert restore_missing(evidence.folder, evidence.keys.public, target).segments == ()


def test_a_segment_that_was_forged_in_the_archive_does_not_come_back(evidence, target, tmp_path):
    """It is whole and has the right name; the signed tree does not have it."""
    lost = evidence.segments()[1]
    lost.unlink()
    forged = build_records(300, note="forged")[64:128]
    (tmp_path / "cold" / "mas-1" / "p0" / lost.name).write_bytes(compressed(forged))

    with pytest.raises(EvidenceDamaged, match="not those that were signed"):
        restore_missing(evidence.folder, evidence.keys.public, target)

    assert not lost.exists()
    assert not list(evidence.place().glob(".*.new"))


def test_a_whole_folder_comes_back_and_can_be_gone_on_with(evidence, target, tmp_path):
    """On another machine, from the archive alone: records, hashes, checkpoints and keys."""
    out = tmp_path / "again"
    done = restore_folder(target, out)

    assert len(done.segments) == 8
    assert records_of(out) == RECORDS[:256]
    assert (out / "audit.pub").read_bytes() == (evidence.folder / "audit.pub").read_bytes()
    hashes = (out / "p0" / "hashes").read_bytes()
    assert (evidence.place() / "hashes").read_bytes().startswith(hashes)
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {0o600}

    verdicts = [verify_folder(out, number, trusted_keys(out, evidence.keys.public)) for number in (0, 1)]
    assert [(found.ok, found.verified_to) for found in verdicts] == [(True, 256)] * 2

    keys = CheckpointKeys(out, tmp_path / "audit-keys", "mas")
    writer = EvidenceWriter(out, 0, keys, segment_records=64)
    assert writer.size == 256
    writer.append(RECORDS[256:])
    writer.checkpoint(START)
    writer.close()
    assert records_of(out) == RECORDS
    assert (out / "p0" / "hashes").read_bytes() == (evidence.place() / "hashes").read_bytes()


@pytest.mark.parametrize("kind", ["missing", "forged", "cut"])
def test_an_archive_that_does_not_hold_makes_no_folder(evidence, target, tmp_path, kind):
    """A segment lacks, is another one, or ends early."""
    path = tmp_path / "cold" / "mas-1" / "p1" / evidence.segments(1)[2].name
    if kind == "missing":
        path.unlink()
    elif kind == "forged":
        path.write_bytes(compressed(build_records(300, note="forged")[128:192]))
    else:
        path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(MasError):
        restore_folder(target, tmp_path / "again")

    assert not [item for item in tmp_path.iterdir() if "again" in item.name]


def test_a_folder_that_holds_something_is_left_alone(target, tmp_path):
    """Nothing is mixed, and nothing replaced."""
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "mine").write_bytes(b"x")

    with pytest.raises(Conflict):
        restore_folder(target, tmp_path / "again")

    assert [item.name for item in (tmp_path / "again").iterdir()] == ["mine"]


def test_an_empty_archive_is_not_found(tmp_path):
    """Rather than an empty folder that verifies."""
    (tmp_path / "cold").mkdir()

    with pytest.raises(NotFound):
        restore_folder(FolderTarget(tmp_path / "cold" / "mas-1"), tmp_path / "again")


def test_an_archive_that_is_gone_meanwhile_is_named(evidence, target, monkeypatch):
    """The listing had it, reading does not."""
    evidence.segments()[1].unlink()
    monkeypatch.setattr(target, "open", lambda name: None)

    with pytest.raises(ArchiveUnavailable, match="is gone"):
        restore_missing(evidence.folder, evidence.keys.public, target)
