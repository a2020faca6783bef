"""Reading an evidence folder: the same records whatever file they lie in."""

from __future__ import annotations

import os

import pytest
from support.evidence_folders import build_records, compressed, write_records

from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.merkle import TreeHead, leaf_hash, root_of
from mas_core.errors import ChainBroken

RECORDS = build_records(2500)


@pytest.fixture
def folder(tmp_path):
    write_records(tmp_path, RECORDS, segment=1000)
    return tmp_path


def test_an_empty_folder_has_no_records(tmp_path):
    """Before the first record there is nothing, and no error."""
    reader = EvidenceReader(tmp_path, 0)

    assert (reader.size, list(reader.records()), list(reader.checkpoints())) == (0, [], [])
    assert reader.read_hashes(0, 10) == b""


def test_records_come_in_order_from_segments_and_the_open_file(folder):
    """Every record, with its number, byte for byte."""
    reader = EvidenceReader(folder, 0)

    assert reader.size == 2500
    assert list(reader.records()) == list(enumerate(RECORDS, 1))


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1000, 1001), (257, 300), (1990, 2100), (2400, 9999)])
def test_a_range_begins_and_ends_where_it_was_asked_for(folder, first, last):
    """Ranges inside a segment, over a border, and past the end."""
    found = list(EvidenceReader(folder, 0).records(first, last))

    assert found == list(enumerate(RECORDS, 1))[first - 1 : last]


def test_one_record_is_found_by_its_number(folder):
    """And None is given for one that is not there."""
    reader = EvidenceReader(folder, 0)

    assert (reader.record(1500), reader.record(2500), reader.record(2501)) == (
        RECORDS[1499], RECORDS[2499], None,
    )  # fmt: skip


def test_records_that_were_just_closed_come_once(folder):
    """Between closing a segment and starting the open file anew both hold them."""
    lines = b"".join(record + b"\n" for record in RECORDS[1000:2000])
    (folder / "p0" / "open.jsonl").write_bytes(lines)
    reader = EvidenceReader(folder, 0)

    assert reader.size == 2000
    assert list(reader.records(1999)) == [(1999, RECORDS[1998]), (2000, RECORDS[1999])]


def test_a_torn_last_line_is_no_record(folder):
    """What was not written whole was never signed."""
    path = folder / "p0" / "open.jsonl"
    path.write_bytes(path.read_bytes()[:-20])

    assert EvidenceReader(folder, 0).size == 2499


def test_a_missing_segment_is_passed_over(folder):
    """Records keep their numbers, also where only the open file is left."""
    (folder / "p0" / "000000001001-000000002000.jsonl.zst").unlink()
    reader = EvidenceReader(folder, 0)

    assert [seq for seq, _ in reader.records(999, 2002)] == [999, 1000, 2001, 2002]


def test_a_damaged_segment_names_the_first_record_that_is_lost(folder):
    """What lies before the damage is given."""
    path = folder / "p0" / "000000001001-000000002000.jsonl.zst"
    path.write_bytes(compressed(RECORDS[1000:1256]) + b"\x28\xb5\x2f\xfd damaged")
    got = []

    with pytest.raises(ChainBroken) as caught:
        got.extend(EvidenceReader(folder, 0).records())

    assert got == list(enumerate(RECORDS[:1256], 1))
    assert caught.value.details["sequence"] == 1257


def test_hashes_make_the_root(folder):
    """The stored hashes are read by place."""
    tree = TreeHead()
    for record in RECORDS:
        tree.append(leaf_hash(record))
    with EvidenceReader(folder, 0) as reader:
        assert root_of(2500, reader.read_hash) == tree.root()
        with pytest.raises(ChainBroken):
            reader.read_hash(reader.hash_count)


def test_checkpoints_come_one_by_one(folder):
    """Notes are told apart at their empty lines; a torn one comes last."""
    notes = [f"origin\n{size}\nroot\n\n— name sig\n".encode() for size in (1, 2, 300)]
    path = folder / "p0" / "checkpoints"
    path.write_bytes(b"\n".join([*notes, b""]) + b"orig")

    assert list(EvidenceReader(folder, 0).checkpoints()) == [*notes, b"orig"]


def test_links_and_pipes_are_not_followed(folder, tmp_path):
    """A folder from elsewhere can neither show other files nor block the reader."""
    path = folder / "p0" / "open.jsonl"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        _ = EvidenceReader(folder, 0).size

    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="plain"):
        _ = EvidenceReader(folder, 0).size
