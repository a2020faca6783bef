"""The index of audit records, and searching by it: it says where to look and is never trusted."""

from __future__ import annotations

import random
import shutil
import sqlite3

import pytest
import zstandard
from support.evidence import TIME, chained, evidence
from support.evidence_folders import write_records

from mas_core.audit import index as index_module
from mas_core.audit.chain import Chain, decode_record
from mas_core.audit.index import GROUP_RECORDS, INDEX_NAME, Index, IndexReader
from mas_core.audit.index_keeper import IndexKeeper
from mas_core.audit.record_files import RecordFiles, Span
from mas_core.audit.search import index_group, missing_groups, search
from mas_core.audit.terms import Wanted, terms_of
from mas_core.errors import IndexDamaged
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Finding
from mas_core.ops.audit_filter import AuditFilter

COUNT = GROUP_RECORDS * 2 + 1000
SEGMENT = 5000


def _varied(count: int) -> list[bytes]:
    chance, chain = random.Random(7), Chain()
    return [
        chain.append(
            AuditRecord(
                seq=0,
                time=TIME + number,
                kind=chance.choice(["message", "message", "operator"]),
                decision=chance.choice(["allowed", "denied", "blocked"]),
                rule=f"r{chance.randrange(40)}",
                sender=f"agent-{chance.randrange(900)}",
                target=f"agent-{chance.randrange(900)}",
                type=f"{chance.choice(['invoice', 'task'])}.{chance.randrange(60)}",
                message_id=f"m{number}",
                correlation_id=f"m{number - 3}" if number % 50 == 0 else "",
                findings=(Finding("card", "pci", "/a", 0, 1, "redact"),) if number % 997 == 0 else (),
                actor="ann@host" if number % 1500 == 0 else "",
            )
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def records():
    """Records of many senders, more than two groups of them."""
    return _varied(COUNT)


@pytest.fixture(scope="module")
def kept(records, tmp_path_factory):
    """An evidence folder with these records, in segments that no group ends with, and its index."""
    folder = tmp_path_factory.mktemp("kept") / "audit"
    evidence(folder, records, every=1000, segment_records=SEGMENT)
    keeper = IndexKeeper(folder)
    for first in range(0, COUNT, 700):
        keeper.take(0, records[first : first + 700])
    keeper.close()
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    """A copy of it for one test."""
    shutil.copytree(kept, tmp_path / "audit")
    return tmp_path / "audit"


def watched(files: RecordFiles, read: set[tuple[int, int]]) -> None:
    """Note which blocks are read."""
    lines, text = files.read, files.text
    files.read = lambda first, last: read.add((first, last)) or lines(first, last)
    files.text = lambda first, last: read.add((first, last)) or text(first, last)


def found(folder, wanted: AuditFilter, *, newest_first=False, use_index=True, read=None):
    """Numbers of the records that a search finds, and what it warned of."""
    told: list[str] = []
    files = RecordFiles(folder, 0, told.append)
    if read is not None:
        watched(files, read)
    numbers = [
        record.seq
        for portion in search(
            files, Span(1, files.size), wanted.wanted, wanted.matches, told.append,
            newest_first=newest_first, use_index=use_index,
        )
        for _, record in portion
    ]  # fmt: skip
    return numbers, told


FILTERS = [
    AuditFilter(sender="agent-17"),
    AuditFilter(target="agent-3", decision="denied"),
    AuditFilter(sender="nobody"),
    AuditFilter(message_type="invoice.1*"),
    AuditFilter(message_type="*.5"),
    AuditFilter(message_type="task.?", kind="operator"),
    AuditFilter(rule="card"),
    AuditFilter(rule="r7", decision="blocked"),
    AuditFilter(finding="pci"),
    AuditFilter(finding="card"),
    AuditFilter(actor="ann@host"),
    AuditFilter(actor="ann"),
    AuditFilter(since=TIME + 9000, until=TIME + 9100),
    AuditFilter(sender="agent-17", since=TIME + 9000),
]


@pytest.mark.parametrize("wanted", FILTERS, ids=repr)
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_index_finds_what_a_search_of_everything_finds(kept, records, wanted, newest_first):
    """All of it, in order, and nothing else."""
    expected = [record.seq for record in map(decode_record, records) if wanted.matches(record)]
    if newest_first:
        expected.reverse()

    assert found(kept, wanted, newest_first=newest_first) == (expected, [])
    assert found(kept, wanted, newest_first=newest_first, use_index=False) == (expected, [])


def test_only_blocks_that_can_hold_it_are_read(kept):
    """A rare sender needs a share of the blocks; without an index all are read."""
    few, all_ = set(), set()

    found(kept, AuditFilter(finding="pci"), read=few)
    found(kept, AuditFilter(finding="pci"), read=all_, use_index=False)

    # 17 findings in 64 blocks of the index, and the 4 blocks of the group that is not complete
    assert len(few) <= 17 + 4 < len(all_) == 64 + 4


def test_a_message_id_is_found_without_reading_the_rest(kept):
    """Records about a message, and those that answer it."""
    few: set[tuple[int, int]] = set()
    told: list[str] = []
    files = RecordFiles(kept, 0, told.append)
    watched(files, few)
    numbers = [
        record.seq
        for portion in search(
            files,
            Span(1, files.size),
            Wanted(identifier="m47"),
            lambda record: "m47" in (record.message_id, record.correlation_id),
            told.append,
        )
        for _, record in portion
    ]

    assert (numbers, told) == ([48, 51], [])
    assert len(few) <= 4 + 3


def test_an_index_that_is_gone_or_torn_is_only_slower(folder, records):
    """What is asked for is found, and a damage is told."""
    wanted = AuditFilter(sender="agent-17")
    expected = found(folder, wanted)[0]
    path = folder / "p0" / INDEX_NAME

    whole = path.read_bytes()
    path.write_bytes(b"no database" * 500)
    numbers, told = found(folder, wanted)
    assert numbers == expected
    assert "all records are searched" in told[0]

    path.write_bytes(whole[: len(whole) // 2])
    numbers, told = found(folder, wanted)
    assert numbers == expected
    assert told

    path.unlink()
    assert found(folder, wanted) == (expected, [])


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("UPDATE postings SET blocks = 0", AuditFilter(sender="agent-17")),
        ("UPDATE postings SET blocks = 0", AuditFilter(message_type="invoice.*")),
        ("UPDATE groups SET oldest = 0, newest = 1", AuditFilter(since=TIME + 5)),
        ("UPDATE groups SET times = zeroblob(512)", AuditFilter(since=TIME + 5)),
        ("UPDATE postings SET blocks = 'x'", AuditFilter(sender="agent-17")),
        ("DROP TABLE postings", AuditFilter(sender="agent-17")),
    ],
)
def test_a_changed_row_shows(folder, change, wanted):
    """By its checksum: the records are searched instead, with a warning."""
    expected = found(folder, wanted)[0]
    with sqlite3.connect(folder / "p0" / INDEX_NAME) as database:
        database.execute(change)
    database.close()

    numbers, told = found(folder, wanted)

    assert numbers == expected
    assert len(told) == 1
    assert "index" in told[0]


def test_a_block_that_does_not_hold_what_the_index_says_yields_nothing(folder):
    """What is found through the index is read from the records and matched again."""
    rows = [(group, "sagent-none", 1, index_module._checksum(group, "sagent-none", 1)) for group in (0, 1)]
    with sqlite3.connect(folder / "p0" / INDEX_NAME) as database:
        database.executemany("INSERT INTO postings VALUES (?, ?, ?, ?)", rows)
    database.close()

    assert found(folder, AuditFilter(sender="agent-none")) == ([], [])


def test_an_index_can_be_made_again(folder):
    """From the records: the same groups, newest first."""
    (folder / "p0" / INDEX_NAME).unlink()
    files = RecordFiles(folder, 0, print)

    with Index(folder / "p0") as index:
        assert missing_groups(files, index) == [1, 0]
        for group in missing_groups(files, index):
            index_group(files, group, index)
        assert missing_groups(files, index) == []

    assert IndexReader(folder / "p0").groups == {0, 1}


def test_a_writer_replaces_what_is_no_index(folder):
    """And begins anew."""
    (folder / "p0" / INDEX_NAME).write_bytes(b"something else")

    with Index(folder / "p0") as index:
        assert index.groups() == set()


def test_an_index_of_another_format_is_refused(folder):
    """By readers; they search the records."""
    with sqlite3.connect(folder / "p0" / INDEX_NAME) as database:
        database.execute("UPDATE about SET format = '9 middle'")
    database.close()

    with pytest.raises(IndexDamaged, match="format"):
        IndexReader(folder / "p0")


def test_what_the_index_lacks_is_made_up_for_beside_new_records(tmp_path):
    """A group with each portion, so that nobody waits."""
    records = _varied(GROUP_RECORDS * 2 + 300)
    folder = tmp_path / "audit"
    evidence(folder, records, every=4096, segment_records=SEGMENT)
    more = _varied(GROUP_RECORDS * 3)[len(records) :]

    keeper = IndexKeeper(folder)
    keeper.take(0, more[:10])
    assert len(IndexReader(folder / "p0").groups) == 1
    keeper.take(0, more[10:])
    keeper.close()

    assert IndexReader(folder / "p0").groups == {0, 1, 2}


def test_a_log_that_begins_anew_gets_an_index_of_its_own(tmp_path):
    """After a restore that was accepted the folder has another name."""
    folder = tmp_path / "audit"
    records = _varied(GROUP_RECORDS)
    evidence(folder, records, every=4096)
    keeper = IndexKeeper(folder)
    keeper.take(0, records)
    (folder / "p0").rename(folder / "p0.era1")
    evidence(folder, records[:256], every=256)

    keeper.take(0, records[:256])
    keeper.close()

    assert IndexReader(folder / "p0").groups == set()
    assert IndexReader(folder / "p0.era1").groups == {0}


def test_a_full_disk_costs_the_index_and_nothing_else(folder, records):
    """Whoever feeds it does not notice."""
    with Index(folder / "p0") as index:
        index._database.execute("PRAGMA query_only = 1")
        index.add_block(1, records)

        assert index.next_seq == COUNT + 1


def test_lines_that_are_no_records_have_no_terms():
    """And do not shift those of their neighbours."""
    good = chained(1)[0]

    assert terms_of([good, b"{", b'{"seq":1,"time":2},{"seq":2,"time":3}', b"\xff"]).ids == {"m0"}


@pytest.mark.parametrize("how", ["one frame", "no checksum", "torn", "flipped"])
def test_segments_that_others_compressed_are_read_too(tmp_path, how):
    """As far as they can be; what cannot be read is told."""
    records = chained(1000)
    place = tmp_path / "audit" / "p0"
    place.mkdir(parents=True)
    text = [b"".join(record + b"\n" for record in records[at : at + 256]) for at in range(0, 1000, 256)]
    if how == "one frame":
        data = zstandard.ZstdCompressor().compress(b"".join(text))
    else:
        packer = zstandard.ZstdCompressor(write_checksum=how != "no checksum")
        data = b"".join(packer.compress(part) for part in text)
    if how == "torn":
        data = data[:-200]
    if how == "flipped":
        data = data[:-300] + bytes([data[-300] ^ 255]) + data[-299:]
    (place / "000000000001-000000001000.jsonl.zst").write_bytes(data)
    told: list[str] = []

    files = RecordFiles(tmp_path / "audit", 0, told.append)
    numbers = [seq for seq, _ in files.read(250, 1000)]

    if how in {"torn", "flipped"}:
        assert numbers == list(range(250, 250 + len(numbers)))
        assert 500 < len(numbers) < 751
        assert "cannot be read" in told[0]
    else:
        assert numbers == list(range(250, 1001))
        assert [text for _, text in files.read(300, 300)] == [records[299]]
        assert told == []


def test_a_record_that_spells_a_name_with_escapes_is_found(tmp_path):
    """Records are matched by what they say, not by how it is written."""
    records = chained(600)
    records[99] = records[99].replace(b'"sender":"agent-1"', b'"sender":"\\u0061gent-1"')
    write_records(tmp_path, records, segment=512)

    numbers, _ = found(tmp_path, AuditFilter(sender="agent-1"))

    assert decode_record(records[99]).sender == "agent-1"
    assert 100 in numbers
    assert len(numbers) == len([record for record in records if decode_record(record).sender == "agent-1"])
