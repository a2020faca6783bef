"""Verification of an evidence folder: keys, checkpoints, spans, and what is no tampering."""

from __future__ import annotations

import random
import shutil
import tracemalloc

import pytest
from support.evidence_folders import START, build_records
from support.tampering import Spoiler, build_log

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_writer import EvidenceWriter
from mas_core.audit.folder_verify import verify_files, verify_folder
from mas_core.audit.note import notes_in
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.audit.verify import Tampering


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return build_log(tmp_path_factory.mktemp("evidence") / "audit", 2000, 512)


@pytest.fixture
def spoiler(log, tmp_path):
    made = Spoiler(log, random.Random(1), tmp_path / "audit")
    made.copy()
    return made


def verified(folder, *pinned, **wanted):
    return verify_folder(folder, 0, trusted_keys(folder, pinned), **wanted)


def test_without_a_pinned_key_the_verdict_says_so(log):
    """The folder's own keys prove only that it agrees with itself."""
    found = verified(log.folder)

    assert found.ok
    assert "not pinned" in found.notes[0]


def test_a_rotation_is_followed_from_the_pinned_key(tmp_path):
    """Who pinned the first key trusts the next ones, and who pinned a later one needs no earlier."""
    keys = CheckpointKeys(tmp_path / "audit", tmp_path / "keys", "mas")
    writer = EvidenceWriter(tmp_path / "audit", 0, keys)
    records = build_records(30)
    writer.append(records[:10])
    writer.checkpoint(START)
    keys.rotate()
    writer.append(records[10:])
    writer.checkpoint(START + 1)
    writer.close()
    first, second = keys.public

    assert [verified(tmp_path / "audit", key).ok for key in (first, second)] == [True, True]
    assert verified(tmp_path / "audit", first).checkpoints == 2


def test_a_key_that_nobody_handed_over_to_is_refused(tmp_path):
    """Its checkpoints do not count, although the folder lists it."""
    keys = CheckpointKeys(tmp_path / "audit", tmp_path / "keys", "mas")
    writer = EvidenceWriter(tmp_path / "audit", 0, keys)
    writer.append(build_records(10))
    writer.checkpoint(START)
    keys.rotate()
    writer.close()
    (tmp_path / "audit/rotations").unlink()
    found = verified(tmp_path / "audit", keys.public[0])

    assert (found.ok, found.kind) == (False, Tampering.KEY_REPLACED)


def test_spoilt_hashes_are_told_and_cost_no_proof(log, spoiler):
    """They are made from the records, which checkpoints prove without them."""
    hashes = bytearray(log.hashes)
    for at in range(0, len(hashes), 4000):
        hashes[at] ^= 1
    spoiler.write("p0/hashes", bytes(hashes))
    found = verified(spoiler.target, log.key)

    assert (found.ok, found.covered) == (True, 2000)
    assert "hashes are wrong" in found.notes[0]


def test_a_span_is_proven_by_the_hashes_before_it(log, spoiler):
    """An export of newer segments verifies from its first record on; without being asked to, it is a gap."""
    (spoiler.target / "p0/000000000001-000000000512.jsonl.zst").unlink()
    gap = verified(spoiler.target, log.key)
    span = verified(spoiler.target, log.key, from_seq=513)

    assert (gap.ok, gap.kind, gap.first_bad) == (False, Tampering.SEGMENT_MISSING, 1)
    assert (span.ok, span.first, span.verified_to) == (True, 513, 2000)


def test_s30_the_first_record_behind_a_segment_is_deleted_not_a_segment(log, spoiler):
    """One record is missing between a closed segment and the open file, and no segment is that short."""
    spoiler.rewrite_lines(1537, [], 1)
    found = verified(spoiler.target, log.key)

    assert (found.ok, found.kind, found.first_bad) == (False, Tampering.DELETED, 1537)


def test_s30_a_number_that_was_edited_at_a_border_is_an_edit(log, spoiler):
    """The first record behind a closed segment claims to be a later one; those after it do not."""
    spoiler.rewrite_lines(1537, [log.records[1536].replace(b'"seq":1537', b'"seq":91537')], 1)
    found = verified(spoiler.target, log.key)

    assert (found.ok, found.kind, found.first_bad) == (False, Tampering.EDITED, 1537)


def test_newer_records_without_a_checkpoint_are_told(log, spoiler):
    """A few may be there at any moment; many mean that checkpoints were removed."""
    notes = log.notes[:3]
    spoiler.write("p0/checkpoints", b"".join(note + b"\n" for note in notes))
    found = verified(spoiler.target, log.key)
    live = verified(spoiler.target, log.key, is_live=True)

    assert (found.ok, found.kind, found.verified_to) == (False, Tampering.CHECKPOINT_MISSING, 768)
    assert (live.ok, live.verified_to) == (True, 768)


def test_bits_that_do_not_count_in_base64_are_found(log, spoiler):
    """A signature that decodes to the same bytes and is written otherwise is no longer what was written."""
    note = log.notes[0].decode()
    place = note.index("=\n", note.index("\n\n"))
    letter = note[place - 1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = alphabet[alphabet.index(letter) ^ 1]
    changed = note[: place - 1] + other + note[place:]
    spoiler.write("p0/checkpoints", b"".join(part + b"\n" for part in [changed.encode(), *log.notes[1:]]))

    assert verified(spoiler.target, log.key).kind == Tampering.CHECKPOINT_FORGED


def test_partitions_vouch_for_each_other(tmp_path):
    """One that is rolled back alone is found by the checkpoints of another."""
    keys = CheckpointKeys(tmp_path / "audit", tmp_path / "keys", "mas")
    writers = [EvidenceWriter(tmp_path / "audit", number, keys) for number in (0, 1)]
    records = build_records(20)
    writers[0].append(records[:10])
    writers[0].checkpoint(START)
    shutil.copytree(tmp_path / "audit/p0", tmp_path / "older")
    writers[0].append(records[10:])
    writers[0].checkpoint(START + 1)
    writers[1].append(build_records(5))
    writers[1].checkpoint(START + 2, {0: writers[0].signed.state})
    for writer in writers:
        writer.close()
    others = list(notes_in((tmp_path / "audit/p1/checkpoints").read_bytes()))
    before = verified(tmp_path / "audit", keys.public[0], outside=others)
    shutil.rmtree(tmp_path / "audit/p0")
    (tmp_path / "older").rename(tmp_path / "audit/p0")
    after = verified(tmp_path / "audit", keys.public[0], outside=others)

    assert before.ok
    assert (after.ok, after.kind, after.first_bad) == (False, Tampering.ROLLED_BACK, 11)


def test_plain_files_are_verified_with_checkpoints(log, tmp_path):
    """A JSON Lines export and the checkpoints are enough."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(record + b"\n" for record in log.records))
    keys = trusted_keys(log.folder, [log.key])
    good = verify_files([path], 0, keys, outside=log.notes)
    lines = list(log.records)
    lines[700] = lines[700].replace(b"allowed", b"blocked")
    path.write_bytes(b"".join(record + b"\n" for record in lines))
    bad = verify_files([path], 0, keys, outside=log.notes)

    assert (good.ok, good.verified_to) == (True, 2000)
    assert (bad.ok, bad.kind, bad.first_bad) == (False, Tampering.EDITED, 701)


def test_memory_does_not_grow_with_the_log(log, tmp_path):
    """Eight times the records need no more."""

    def peak(count: int) -> int:
        made = build_log(tmp_path / str(count) / "audit", count, 512)
        keys = trusted_keys(made.folder, [made.key])
        tracemalloc.start()
        try:
            assert verify_folder(made.folder, 0, keys).ok
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(16_000) < 1.5 * peak(2000)
