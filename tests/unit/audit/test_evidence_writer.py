"""The evidence of one partition: what is written, and what is taken up after a crash."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat

import pytest
import zstandard
from support.evidence import TIME, chained, checkpoint_keys, evidence

from mas_core.audit.chain import Chain, encode_record, record_hash
from mas_core.audit.checkpoint import Checkpoint, TreeState
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.merkle import HASH_SIZE, TreeHead, leaf_hash
from mas_core.audit.note import Note, notes_in
from mas_core.audit.segments import segment_frames, segment_records, segments_in
from mas_core.errors import ConfigurationError, EvidenceDamaged, LogDiscontinued
from mas_core.model.audit_record import AuditRecord


@pytest.fixture
def folder(tmp_path):
    """Where the evidence is."""
    return tmp_path / "audit"


def _tree(records):
    tree = TreeHead()
    hashes = tree.extend(leaf_hash(record) for record in records)
    return tree.root(), b"".join(hashes)


def _checkpoints(folder, keys):
    notes = [Note.parse(note) for note in notes_in((folder / "p0" / "checkpoints").read_bytes())]
    assert all(keys.is_signed(note) for note in notes)
    return [Checkpoint.parse(note.text) for note in notes]


def _everything(folder):
    """All records that are in the folder."""
    closed = [record for found in segments_in(folder / "p0") for record in segment_records(found.path)]
    return [*closed, *(folder / "p0" / "open.jsonl").read_bytes().split(b"\n")[:-1]]


def test_records_hashes_and_checkpoints_are_written(folder):
    """Stored bytes a line each, the tree's hashes, and a signed note with size, root, time and head."""
    records = chained(10)
    keys = checkpoint_keys(folder)
    writer = EvidenceWriter(folder, 0, keys)

    writer.append(records[:7])
    writer.append(records[7:])
    note = writer.checkpoint(TIME, {1: TreeState(3, bytes(32))})
    writer.close()

    root, hashes = _tree(records)
    assert (folder / "p0" / "open.jsonl").read_bytes() == b"".join(record + b"\n" for record in records)
    assert (folder / "p0" / "hashes").read_bytes() == hashes
    assert (folder / "p0" / "checkpoints").read_bytes() == note + b"\n"
    head = hashlib.sha256(records[-1]).hexdigest()
    expected = Checkpoint(f"{keys.name}/0", 10, root, TIME, head, others={1: TreeState(3, bytes(32))})
    assert _checkpoints(folder, keys) == [expected]
    assert f"\ntime {TIME}\nhead 10 {head}\npartition 1 3 " in note.decode()


def test_nothing_new_is_not_signed_again(folder):
    """A second checkpoint of the same records is none."""
    writer = EvidenceWriter(folder, 0, checkpoint_keys(folder))
    assert writer.checkpoint(TIME) is None
    writer.append(chained(2))

    assert writer.checkpoint(TIME) is not None
    assert writer.checkpoint(TIME + 1) is None
    writer.close()


def test_a_full_segment_is_closed(folder):
    """Frames of 256 records, the last one shorter; the file as a whole is plain JSON Lines under zstd."""
    records = chained(1500)
    closed = []
    keys = evidence(folder, records, every=333, segment_records=600, on_closed=closed.append)

    found = segments_in(folder / "p0")
    assert [found_one.path.name for found_one in found] == [
        "000000000001-000000000600.jsonl.zst",
        "000000000601-000000001200.jsonl.zst",
    ]
    text = b"".join(record + b"\n" for record in records[:600])
    with found[0].path.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read() == text
    assert [frame.count(b"\n") for frame in segment_frames(found[0].path)] == [256, 256, 88]
    assert _everything(folder) == records
    assert _checkpoints(folder, keys)[-1].root == _tree(records)[0]
    frame = closed[1].frames[1]
    data = closed[1].path.read_bytes()[frame.offset : frame.offset + frame.length]
    plain = zstandard.ZstdDecompressor().decompress(data)
    assert plain == b"".join(record + b"\n" for record in records[frame.first - 1 : frame.last])


def test_a_segment_is_closed_by_its_size_too(folder):
    """Large records do not make it larger than its bound and one record."""
    records = chained(100, reason="x" * 1000)
    evidence(folder, records, every=30, segment_bytes=20_000)

    assert len(segments_in(folder / "p0")) > 3
    assert _everything(folder) == records
    for found in segments_in(folder / "p0"):
        assert sum(len(text) for text in segment_frames(found.path)) < 22_000


def test_everything_is_private(folder):
    """Folders 0700 and files 0600."""
    evidence(folder, chained(50), segment_records=20)

    for path in (folder, *folder.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_a_writer_goes_on_where_the_last_one_ended(folder):
    """Size, head and tree are taken up, before and after a segment was closed."""
    chain = Chain()
    records = []
    for count in (1, 255, 44, 300, 7):
        more = chained(count, chain)
        keys = evidence(folder, more, segment_records=300)
        records += more

    assert _everything(folder) == records
    assert _checkpoints(folder, keys)[-1].root == _tree(records)[0]
    assert (folder / "p0" / "hashes").read_bytes() == _tree(records)[1]


@pytest.mark.parametrize("kind", ["gap", "forked", "edited", "garbage", "lines", "before"])
def test_records_that_do_not_follow_are_refused(folder, kind):
    """The first of them is named, and nothing of the batch is taken in."""
    records = chained(12)
    writer = EvidenceWriter(folder, 0, checkpoint_keys(folder))
    writer.append(records[:5])
    batch = records[5:10]
    if kind == "gap":
        batch = [*records[5:7], *records[8:10]]
    elif kind == "forked":
        batch[2] = chained(8, decision="denied")[7]
    elif kind == "edited":
        batch[1] = batch[1].replace(b"ledger", b"vault!")
    elif kind == "garbage":
        batch[2] = b'{"seq":'
    elif kind == "lines":
        batch[2] = batch[2] + b"\n"
    else:
        batch = records[4:8]

    with pytest.raises(LogDiscontinued) as caught:
        writer.append(batch)

    assert caught.value.details["sequence"] == (6 if kind == "before" else 8)
    assert writer.size == 5
    writer.append(records[5:])
    assert writer.checkpoint(TIME) is not None
    writer.close()
    assert _everything(folder) == records


def test_fields_in_another_order_are_read(folder):
    """What counts is what a record says, not how it is laid out."""
    first = b'{"prev":"' + b"0" * 64 + b'","time":1,"seq":1}'
    record = encode_record(AuditRecord(seq=2, time=1, prev=record_hash(first)))
    writer = EvidenceWriter(folder, 0, checkpoint_keys(folder))

    writer.append([first, record])

    assert writer.head == record_hash(record)
    writer.close()


def _crashed(folder, tmp_path, records, **options):
    """A folder as it is in the middle, and its copy to damage."""
    keys = evidence(folder, records, **options)
    shutil.copytree(folder, tmp_path / "copy")
    return keys


@pytest.mark.parametrize("name", ["open.jsonl", "hashes", "checkpoints"])
def test_a_torn_end_is_cut_to_what_is_whole(tmp_path, name):
    """At every byte after the second last checkpoint: what is signed stays, and the same records go on it."""
    folder = tmp_path / "audit"
    records = chained(9)
    keys = checkpoint_keys(folder)
    evidence(folder, records[:6], every=3)
    before = {path.name: path.stat().st_size for path in (folder / "p0").iterdir()}
    writer = EvidenceWriter(folder, 0, keys)
    writer.append(records[6:])
    if name == "checkpoints":
        writer.checkpoint(TIME)
    writer.close()
    whole = folder / "p0" / name

    for length in range(before[name], whole.stat().st_size):
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy / "audit")
        os.truncate(copy / "audit" / "p0" / name, length)
        again = EvidenceWriter(copy / "audit", 0, keys)
        assert 6 <= again.size <= 9
        assert again.signed_size == 6
        assert again.mended == ""
        again.append(records[again.size :])
        assert again.checkpoint(TIME) is not None
        again.close()
        assert _everything(copy / "audit") == records
        assert _checkpoints(copy / "audit", keys)[-1].root == _tree(records)[0]
        assert (copy / "audit" / "p0" / "hashes").read_bytes() == _tree(records)[1]
        shutil.rmtree(copy)


@pytest.mark.parametrize("damage", ["zeros", "garbage", "gone"])
def test_hashes_are_rebuilt(folder, damage):
    """From the segments and the open records, whatever became of the file."""
    records = chained(500)
    keys = evidence(folder, records, segment_records=200)
    path = folder / "p0" / "hashes"
    if damage == "gone":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[31 * HASH_SIZE :] = (b"\x00" if damage == "zeros" else b"x") * (len(data) - 31 * HASH_SIZE)
        path.write_bytes(data)

    writer = EvidenceWriter(folder, 0, keys)

    assert writer.root() == _tree(records)[0]
    assert path.read_bytes() == _tree(records)[1]
    writer.close()


@pytest.mark.parametrize("damage", ["edited", "shorter", "gone", "zeros", "first"])
def test_a_signed_record_that_is_damaged_is_asked_of_the_store_again(folder, damage):
    """The file is set aside; nothing is signed before the same records are back."""
    records = chained(40)
    keys = evidence(folder, records[:30], every=10, segment_records=20)
    path = folder / "p0" / "open.jsonl"
    text = path.read_bytes()
    if damage == "edited":
        path.write_bytes(text.replace(b'"m25"', b'"m99"'))
    elif damage == "shorter":
        path.write_bytes(text[: len(text) // 2])
    elif damage == "zeros":
        path.write_bytes(text[:-100] + bytes(100))
    elif damage == "first":
        path.write_bytes(b"#" + text[1:])
    else:
        path.unlink()

    writer = EvidenceWriter(folder, 0, keys)
    assert (writer.size, writer.signed_size) == (20, 30)
    assert "asked of the store again" in writer.mended
    writer.append(records[20:29])
    assert writer.checkpoint(TIME) is None
    writer.append(records[29:])
    assert writer.checkpoint(TIME) is not None
    writer.close()

    assert _everything(folder) == records
    assert (damage == "gone") != (folder / "p0" / "open.damaged-0.jsonl").exists()


def test_other_records_than_were_signed_are_never_signed(folder):
    """What comes back from the store has to have the signed root."""
    keys = evidence(folder, chained(30), every=10)
    (folder / "p0" / "open.jsonl").unlink()
    writer = EvidenceWriter(folder, 0, keys)
    before = (folder / "p0" / "checkpoints").read_bytes()

    writer.append(chained(40, decision="denied"))
    with pytest.raises(EvidenceDamaged, match="not those that were signed"):
        writer.checkpoint(TIME)

    writer.close()
    assert (folder / "p0" / "checkpoints").read_bytes() == before


def test_a_damaged_segment_stops_the_writer_only_where_it_needs_it(folder):
    """The newest is read for the chain; with the hashes gone all are."""
    keys = evidence(folder, chained(50), segment_records=20)
    first, second = segments_in(folder / "p0")
    data = bytearray(first.path.read_bytes())
    data[len(data) // 2] ^= 1
    first.path.write_bytes(data)

    EvidenceWriter(folder, 0, keys).close()
    (folder / "p0" / "hashes").unlink()
    with pytest.raises(EvidenceDamaged):
        EvidenceWriter(folder, 0, keys)
    second.path.write_bytes(second.path.read_bytes()[:-9])
    with pytest.raises(EvidenceDamaged, match="ends in the middle"):
        EvidenceWriter(folder, 0, keys)


def test_older_segments_may_be_elsewhere(folder):
    """The newest one and the hashes are enough to go on."""
    records = chained(70)
    keys = evidence(folder, records[:65], segment_records=20)
    for found in segments_in(folder / "p0")[:-1]:
        found.path.unlink()

    writer = EvidenceWriter(folder, 0, keys)
    writer.append(records[65:])
    writer.checkpoint(TIME)
    writer.close()

    assert _checkpoints(folder, keys)[-1].root == _tree(records)[0]


def test_a_process_that_ended_while_it_closed_a_segment_lost_nothing(folder, monkeypatch):
    """Before the segment has its name, and between that and the new open file."""
    records = chained(45)
    keys = evidence(folder, records[:15], segment_records=20)
    for name in ("mas_core.audit.segments.segment_frames", "mas_core.audit.evidence_writer.write_private"):
        writer = EvidenceWriter(folder, 0, keys, segment_records=20)
        with monkeypatch.context() as patch:
            patch.setattr(name, lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
            with pytest.raises(OSError, match="full"):
                writer.append(records[writer.size : writer.size + 10])
        writer.close()

    writer = EvidenceWriter(folder, 0, keys, segment_records=20)
    assert writer.size >= 20
    writer.append(records[writer.size :])
    writer.checkpoint(TIME)
    writer.close()

    assert _everything(folder) == records
    assert _checkpoints(folder, keys)[-1].root == _tree(records)[0]
    assert not list((folder / "p0").glob(".*"))


def test_a_forged_last_checkpoint_is_refused(folder):
    """By another key, or of another log."""
    keys = evidence(folder, chained(5))
    path = folder / "p0" / "checkpoints"
    own = path.read_bytes()
    path.write_bytes(own.replace(b"time 1", b"time 2"))
    with pytest.raises(EvidenceDamaged, match="signature is wrong"):
        EvidenceWriter(folder, 0, keys)

    other = evidence(folder.parent / "other", chained(5), partition=1)
    assert other.name != keys.name
    path.write_bytes((folder.parent / "other" / "p1" / "checkpoints").read_bytes())
    with pytest.raises(EvidenceDamaged, match="another log"):
        EvidenceWriter(folder, 0, keys)


def test_a_clock_that_goes_back_is_written_down(folder):
    """Checkpoints follow each other by size; their times are what the clock said."""
    records = chained(3)
    keys = checkpoint_keys(folder)
    writer = EvidenceWriter(folder, 0, keys)
    for record, time in zip(records, (TIME, TIME - 3_600_000, TIME + 86_400_000), strict=True):
        writer.append([record])
        assert writer.checkpoint(time) is not None
    writer.close()

    assert [found.time - TIME for found in _checkpoints(folder, keys)] == [0, -3_600_000, 86_400_000]


def test_links_are_not_followed(folder, tmp_path):
    """A link in place of a file is an error, and what it leads to is untouched."""
    keys = evidence(folder, chained(3))
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    for name in ("open.jsonl", "hashes", "checkpoints"):
        path = folder / "p0" / name
        kept = path.read_bytes()
        path.unlink()
        path.symlink_to(secret)
        with pytest.raises(OSError):
            EvidenceWriter(folder, 0, keys)
        path.unlink()
        path.write_bytes(kept)
    assert secret.read_bytes() == b"secret"


def test_a_folder_that_is_a_file_is_named(tmp_path):
    """It cannot be used."""
    keys = checkpoint_keys(tmp_path / "audit")
    (tmp_path / "audit" / "p0").write_bytes(b"")
    with pytest.raises(ConfigurationError):
        EvidenceWriter(tmp_path / "audit", 0, keys)
