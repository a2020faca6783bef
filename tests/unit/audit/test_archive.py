"""Segments in an archive: what is there was proven before it was copied and read back after."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import pytest
from support.evidence_folders import START, build_records
from support.followed_evidence import Evidence, new_evidence

from mas_core.audit.archive import Archive
from mas_core.audit.archive_target import FolderTarget, open_target
from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.evidence_reader import notes_in
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.note import Note
from mas_core.errors import ArchiveUnavailable, ConfigurationError, EvidenceDamaged, MasError


def grown(evidence: Evidence, records: list[bytes], *, segment: int = 64, partition: int = 0) -> None:
    """Take in records in steps of 50, with a checkpoint after each."""
    writer = EvidenceWriter(evidence.folder, partition, evidence.keys, segment_records=segment)
    try:
        for at in range(writer.size, len(records), 50):
            writer.append(records[at : at + 50])
            writer.checkpoint(START + at)
    finally:
        writer.close()


@pytest.fixture
def evidence(tmp_path):
    """300 records: four closed segments of 64, and the rest open."""
    made = new_evidence(tmp_path, "mas")
    grown(made, build_records(300))
    return made


@pytest.fixture
def cold(tmp_path):
    """The folder of the archive."""
    (tmp_path / "cold").mkdir()
    return tmp_path / "cold" / "mas-1"


def archive_of(evidence, target):
    return Archive(evidence.folder, evidence.keys, target)


def notes_of(text: bytes) -> list[bytes]:
    """The notes in the text of one file."""
    parts = text.removesuffix(b"\n\n").split(b"\n\n")
    return [b"\n\n".join(parts[at : at + 2]) + b"\n" for at in range(0, len(parts), 2)]


def stored(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_closed_segments_keys_and_checkpoints_are_copied(evidence, cold):
    """In the shape of an evidence folder, readable by its owner only."""
    done = archive_of(evidence, FolderTarget(cold)).copy_partition(0)

    names = [path.name for path in evidence.segments()]
    assert list(done.segments) == names
    assert len(names) == done.there == 4
    assert {"audit.pub", "system", *(f"p0/{name}" for name in names)} <= stored(cold)
    for path in evidence.segments():
        assert (cold / "p0" / path.name).read_bytes() == path.read_bytes()
    assert (cold / "audit.pub").read_bytes() == (evidence.folder / "audit.pub").read_bytes()
    assert {path.stat().st_mode & 0o777 for path in cold.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (cold, cold / "p0")} == {0o700}


def test_the_checkpoints_of_a_segment_lie_beside_it(evidence, cold):
    """Those of the log whose size lies in it, and one for its end."""
    archive_of(evidence, FolderTarget(cold)).copy_partition(0)

    parts = [path.read_bytes() for path in sorted((cold / "p0").glob("*.checkpoints"))]
    own = set(notes_in(evidence.place() / "checkpoints"))
    assert [part.count(b"\nhead ") for part in parts] == [2, 2, 2, 3]
    assert [sum(note in own for note in notes_of(part)) for part in parts] == [1, 1, 1, 2]
    assert [Checkpoint.parse(Note.parse(notes_of(part)[-1]).text).size for part in parts] == [
        64,
        128,
        192,
        256,
    ]


def test_a_second_run_copies_only_what_is_new(evidence, cold):
    """And begins with what is missing, wherever the last run ended."""
    archive = archive_of(evidence, FolderTarget(cold))
    archive.copy_partition(0)
    assert archive.copy_partition(0).segments == ()

    grown(evidence, build_records(400))
    (cold / "p0" / evidence.segments()[1].name).unlink()
    done = archive.copy_partition(0)

    assert [name[:12] for name in done.segments] == ["000000000065", "000000000257", "000000000321"]


def test_what_no_checkpoint_covers_is_not_copied(tmp_path, cold):
    """It could still turn out to be something else."""
    made = new_evidence(tmp_path, "mas")
    writer = EvidenceWriter(made.folder, 0, made.keys, segment_records=64)
    records = build_records(300)
    writer.append(records[:100])
    writer.checkpoint(START)
    writer.append(records[100:])
    writer.close()

    done = archive_of(made, FolderTarget(cold)).copy_partition(0)

    assert [name[:12] for name in done.segments] == ["000000000001"]
    assert len(made.segments()) == 4


def test_a_corrupt_segment_is_named_and_not_copied(evidence, cold):
    """Those before it are."""
    path = evidence.segments()[2]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)

    with pytest.raises(MasError, match=path.name[:12].lstrip("0")):
        archive_of(evidence, FolderTarget(cold)).copy_partition(0)

    assert [item.name for item in sorted((cold / "p0").glob("*.zst"))] == [
        item.name for item in evidence.segments()[:2]
    ]


def test_keys_that_were_replaced_stop_everything(evidence, cold, tmp_path):
    """The archive knows the first key of the system."""
    archive_of(evidence, FolderTarget(cold)).copy_partition(0)
    (tmp_path / "other").mkdir()
    other = new_evidence(tmp_path / "other", "mas")
    grown(other, build_records(300, note="forged"))

    (cold / "p0" / evidence.segments()[0].name).unlink()
    before = stored(cold)

    with pytest.raises(EvidenceDamaged, match=r"audit\.pub"):
        archive_of(other, FolderTarget(cold)).copy_partition(0)

    assert stored(cold) == before


class Fails(io.BytesIO):
    """A disk that is full after a few bytes."""

    def write(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_place_leaves_nothing_half_done(evidence, monkeypatch):
    """U5: the error names the place, and the next run begins where this one ended."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    url = "memory://full-place"
    target = open_target(url, "mas-1")
    archive = archive_of(evidence, target)
    real, count = files.open, 0

    def open_until_full(path, mode="rb", **options):
        nonlocal count
        if mode == "wb" and path.endswith(".zst"):
            count += 1
            if count == 3:
                return Fails()
        return real(path, mode, **options)

    monkeypatch.setattr(type(files), "open", lambda self, *args, **options: open_until_full(*args, **options))
    with pytest.raises(ArchiveUnavailable, match="No space left") as raised:
        archive.copy_partition(0)
    assert evidence.segments()[2].name in raised.value.message
    assert raised.value.retryable
    monkeypatch.undo()

    assert [name[:12] for name in archive.copy_partition(0).segments] == ["000000000129", "000000000193"]
    files.rm("/full-place", recursive=True)


def test_a_place_that_gives_back_something_else_is_not_believed(evidence, monkeypatch):
    """What was taken is read again; a copy that differs is removed."""
    pytest.importorskip("fsspec")
    target = open_target("memory://liar", "mas-1")
    archive = archive_of(evidence, target)
    real = target.put

    def spoiled(name, source):
        content = bytearray(source.read())
        if name.endswith(".zst"):
            content[len(content) // 2] ^= 1
        real(name, io.BytesIO(content))

    monkeypatch.setattr(target, "put", spoiled)
    with pytest.raises(ArchiveUnavailable, match="something else"):
        archive.copy_partition(0)

    assert not [name for name in target.names() if name.endswith(".zst")]


def test_other_places_work_like_folders(evidence, cold):
    """The same names with the same bytes."""
    pytest.importorskip("fsspec")
    target = open_target("memory://same", "mas-1")
    archive_of(evidence, FolderTarget(cold)).copy_partition(0)
    archive_of(evidence, target).copy_partition(0)

    assert target.names() == sorted(stored(cold)) == FolderTarget(cold).names()
    for name in target.names():
        with target.open(name) as file:
            assert file.read() == (cold / name).read_bytes()
    target.delete("audit.pub")
    target.delete("audit.pub")
    assert target.open("audit.pub") is None


def test_an_unwritable_folder_is_named(evidence, cold):
    """Something that is no folder stands where the archive should be."""
    cold.write_bytes(b"")

    with pytest.raises(ArchiveUnavailable, match="mas-1"):
        archive_of(evidence, FolderTarget(cold)).copy_partition(0)


def test_a_disk_that_is_not_mounted_is_not_replaced_by_a_folder(evidence, tmp_path):
    """The folder of the archive has to be there; only what lies in it is made."""
    with pytest.raises(ArchiveUnavailable, match="not there"):
        archive_of(evidence, FolderTarget(tmp_path / "mnt" / "mas-1")).copy_partition(0)

    assert not (tmp_path / "mnt").exists()


def test_a_copy_that_was_interrupted_is_cleared_away(evidence, cold):
    """A part of a file never has the name of the file."""
    name = evidence.segments()[0].name
    (cold / "p0").mkdir(parents=True, mode=0o700)
    part = cold / "p0" / f".{name}.part-abc"
    part.write_bytes(b"half")
    assert FolderTarget(cold).names() == []

    archive_of(evidence, FolderTarget(cold)).copy_partition(0)

    assert not part.exists()


def test_links_in_the_archive_are_not_followed(evidence, cold, tmp_path):
    """Neither for reading nor for writing."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    (cold / "p0").mkdir(parents=True, mode=0o700)
    (cold / "p0" / evidence.segments()[0].name).symlink_to(secret)

    with pytest.raises(ArchiveUnavailable):
        FolderTarget(cold).open(f"p0/{evidence.segments()[0].name}")
    archive_of(evidence, FolderTarget(cold)).copy_partition(0)

    assert secret.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "p0/../../x", "", "p0/a\0b"])
def test_names_stay_in_the_archive(cold, name):
    """Whoever writes names into an archive gets no file outside of it."""
    with pytest.raises(ConfigurationError):
        FolderTarget(cold).open(name)


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/x", "sftp://me:pw@host/x", "file://host/x", "nosuchplace://x"]
)
def test_urls_that_cannot_be_used_are_refused(url):
    """Passwords have no place in settings and arguments."""
    with pytest.raises(ConfigurationError) as raised:
        open_target(url, "mas-1")

    assert "secret" not in raised.value.message


def test_without_the_extra_folders_work_and_urls_say_what_lacks(monkeypatch, tmp_path):
    """fsspec is needed for other places only."""
    monkeypatch.setitem(sys.modules, "fsspec", None)

    assert isinstance(open_target(str(tmp_path), "mas-1"), FolderTarget)
    assert isinstance(open_target(f"file://{tmp_path}", "mas-1"), FolderTarget)
    with pytest.raises(ConfigurationError) as raised:
        open_target("s3://bucket/x", "mas-1")
    assert raised.value.hint == ("pip install 'mas[archive]'",)


FULL_DISK = """
import subprocess, sys
from pathlib import Path
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", sys.argv[2]], check=True)
from mas_core.audit.archive import Archive
from mas_core.audit.archive_target import FolderTarget
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.errors import ArchiveUnavailable
folder, cold = Path(sys.argv[1]), Path(sys.argv[2])
keys = CheckpointKeys(folder, folder.with_name("audit-keys"), "mas")
try:
    Archive(folder, keys, FolderTarget(cold / "mas-1")).copy_partition(0)
except ArchiveUnavailable as error:
    print(error.message)
print(sorted(path.name for path in cold.rglob("*") if path.is_file()))
"""


def test_a_full_disk_keeps_what_is_whole_and_nothing_else(tmp_path, evidence):
    """On a real file system of 32 kB, in a name space of its own."""
    grown(evidence, build_records(2000))
    mount = tmp_path / "small"
    mount.mkdir()
    ran = subprocess.run(
        ["unshare", "--mount", "--map-root-user", sys.executable, "-c", FULL_DISK, evidence.folder, mount],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip(f"no file system can be mounted here: {ran.stderr.splitlines()[0]}")

    assert "No space left" in ran.stdout, ran.stderr
    names = ran.stdout.splitlines()[1]
    assert ".part-" not in names
    assert "audit.pub" in names
