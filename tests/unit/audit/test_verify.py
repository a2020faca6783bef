"""Verification of the audit chain: what is found, and which record is named."""

from __future__ import annotations

import random

import msgspec
import pytest

from mas_core.audit.chain import Chain, decode_record, encode_record, record_hash
from mas_core.audit.verify import ChainVerifier
from mas_core.model.audit_record import GENESIS, AuditRecord

SIZE = 2000
MUTATIONS = 120


def build(size):
    chain = Chain()
    return [
        chain.append(
            AuditRecord(
                seq=0,
                time=1_700_000_000_000 + number,
                decision="allowed",
                rule=f"r{number % 7}",
                sender=f"agent-{number % 13}",
                target="ledger",
                type="invoice.create",
                message_id=f"01J{number:023}",
                size=number,
                details={"note": "x" * (number % 40)},
                prev="",
            )
        )
        for number in range(1, size + 1)
    ]


RECORDS = build(SIZE)
HEAD = record_hash(RECORDS[-1])


def verify(entries, expected_head=HEAD, expected_seq=SIZE):
    verifier = ChainVerifier()
    for seq, record in entries:
        if not verifier.feed(seq, record):
            break
    return verifier.finish(expected_head, expected_seq)


def numbered(records):
    return list(enumerate(records, 1))


def seeded(name):
    return random.Random(name)


def places(source):
    """Random places, and those at both ends, where mistakes hide."""
    yield from (1, 2, 3, SIZE - 2, SIZE - 1, SIZE)
    for _ in range(MUTATIONS):
        yield source.randint(1, SIZE)


def edited(source, record):
    at = source.randrange(len(record))
    return (
        record[:at]
        + bytes([source.choice([byte for byte in range(256) if byte != record[at]])])
        + record[at + 1 :]
    )


def forged(source, seq, prev):
    return encode_record(
        AuditRecord(seq=seq, time=source.randrange(10**12), decision="allowed", sender="mallory", prev=prev)
    )


def prev_of(place):
    return record_hash(RECORDS[place - 2]) if place > 1 else GENESIS


def test_an_intact_chain_is_proven():
    """Every record is read and the hash of the last one is given."""
    result = verify(numbered(RECORDS))

    assert result.ok
    assert (result.records, result.verified_to, result.head) == (SIZE, SIZE, HEAD)
    assert result.first_bad is None
    assert result.problem == ""


def test_without_a_known_head_the_last_record_is_not_proven():
    """Only the record after it, or a head, proves a record."""
    result = verify(numbered(RECORDS), None, None)

    assert result.ok
    assert (result.verified_to, result.head) == (SIZE - 1, HEAD)


def test_an_edited_byte_names_the_record():
    """Any byte of any record, the links and the last record included."""
    source = seeded("edit")
    for place in places(source):
        records = list(RECORDS)
        records[place - 1] = edited(source, records[place - 1])

        result = verify(numbered(records))

        assert (place, False) == (result.first_bad, result.ok), result.problem
        assert result.verified_to < place


@pytest.mark.parametrize("field", ["seq", "prev", "decision", "time"])
def test_an_edited_field_names_the_record(field):
    """A well-formed record with another value is found, also when its link is what changed."""
    source = seeded(field)
    for place in places(source):
        record = decode_record(RECORDS[place - 1])
        values = {
            "seq": source.choice([place - 1, place + 1, 0, -5, place * 10]),
            "prev": source.choice(
                [GENESIS[1:] + "1", "", "f" * 64, prev_of(source.choice([n for n in (1, 50) if n != place]))]
            ),
            "decision": "denied",
            "time": 1,
        }
        if field == "prev" and values["prev"] == record.prev:
            continue
        records = list(RECORDS)
        records[place - 1] = encode_record(msgspec.structs.replace(record, **{field: values[field]}))

        result = verify(numbered(records))

        assert place == result.first_bad, result.problem


@pytest.mark.parametrize("renumbered", [False, True])
def test_a_deleted_record_is_named(renumbered):
    """The number of the missing record is given, whether the store closed the gap or not."""
    source = seeded("delete")
    for place in places(source):
        entries = [entry for entry in numbered(RECORDS) if entry[0] != place]
        if renumbered:
            entries = numbered([record for _, record in entries])

        assert place == verify(entries).first_bad


@pytest.mark.parametrize("fit", ["linked", "unlinked", "misnumbered"])
def test_an_inserted_record_is_named(fit):
    """A forged record is named by the place where it stands, however well it links to the one before."""
    source = seeded(fit)
    for place in [*places(source), SIZE + 1]:
        prev = prev_of(place) if fit != "unlinked" else "a" * 64
        record = forged(source, place + (5 if fit == "misnumbered" else 0), prev)

        result = verify(numbered([*RECORDS[: place - 1], record, *RECORDS[place - 1 :]]))

        assert place == result.first_bad, result.problem


def test_inserted_runs_of_records_are_named():
    """Several forged records that link to each other are found where the run starts."""
    source = seeded("run")
    for place in places(source):
        run, prev = [], prev_of(place)
        for seq in range(place, place + source.randint(2, 200)):
            run.append(forged(source, seq, prev))
            prev = record_hash(run[-1])

        result = verify(numbered([*RECORDS[: place - 1], *run, *RECORDS[place - 1 :]]))

        assert place == result.first_bad, result.problem
        assert result.verified_to == place - 1
        assert result.head == prev_of(place)


def test_inserted_records_with_older_numbers_are_named_where_they_stand():
    """Records that claim to be earlier ones, but do not link there, discredit nothing but themselves."""
    source = seeded("older numbers")
    for place in range(20, SIZE, 100):
        first = forged(source, place - 5, "a" * 64)
        second = forged(source, place - 4, record_hash(first))

        result = verify(numbered([*RECORDS[: place - 1], first, second, *RECORDS[place - 1 :]]))

        assert place == result.first_bad, result.problem


def test_an_inserted_record_under_a_used_number_is_named():
    """Two records of one number are one too many, before or after the right one."""
    source = seeded("same number")
    for place in places(source):
        for shift in (0, 1):
            entries = numbered(RECORDS)
            entries.insert(place - 1 + shift, (place, forged(source, place, prev_of(place))))

            assert verify(entries).first_bad == place


def test_a_repeated_record_is_named():
    """The second copy is bad, not the first, next to it or far away."""
    source = seeded("repeat")
    for place in places(source):
        other = source.randint(place, SIZE)
        for after in (place, other):
            records = [*RECORDS[:after], RECORDS[place - 1], *RECORDS[after:]]

            assert verify(numbered(records)).first_bad == after + 1


@pytest.mark.parametrize("renumbered", [False, True])
def test_swapped_records_are_named(renumbered):
    """The first place that holds another record is given."""
    source = seeded("swap")
    for place in places(source):
        other = source.choice([place + 1 if place < SIZE else 1, source.randint(1, SIZE)])
        if place == other:
            continue
        entries = numbered(RECORDS)
        entries[place - 1], entries[other - 1] = entries[other - 1], entries[place - 1]
        if renumbered:
            entries = numbered([record for _, record in entries])

        assert verify(entries).first_bad == min(place, other)


@pytest.mark.parametrize("forward", [False, True])
def test_a_moved_record_is_named(forward):
    """A record taken from one place to another is missing there or too much here, whichever comes first."""
    source = seeded("move")
    for place in places(source):
        other = source.randint(1, SIZE)
        start, end = (place, other) if forward else (other, place)
        if start == end:
            continue
        records = list(RECORDS)
        records.insert(end - 1, records.pop(start - 1))

        assert verify(numbered(records)).first_bad == min(start, end)


def test_a_cut_tail_is_named_from_its_first_record():
    """The kept head tells that records lack, and from which number on."""
    source = seeded("cut")
    for place in places(source):
        result = verify(numbered(RECORDS)[: place - 1])

        assert place == result.first_bad
        assert "missing" in result.problem


def test_a_rolled_back_or_rewritten_chain_does_not_fit_a_kept_head():
    """A chain that is sound in itself still has to end in the hash kept elsewhere."""
    rewritten = build(SIZE - 1)
    chain = Chain(SIZE - 1, record_hash(rewritten[-1]))
    rewritten.append(chain.append(AuditRecord(seq=0, time=1, decision="denied", prev="")))

    assert verify(numbered(rewritten), chain.head).ok
    assert verify(numbered(rewritten)).first_bad == SIZE
    assert not verify(numbered(RECORDS[:-1]), HEAD, None).ok


def test_a_removed_head_does_not_pass():
    """An empty head or a lower number in the store does not make verification give up."""
    assert verify(numbered(RECORDS), "").first_bad == SIZE
    assert verify(numbered(RECORDS), "", 0).first_bad == 1
    assert verify(numbered(RECORDS), HEAD, SIZE - 5).first_bad == SIZE - 4


@pytest.mark.parametrize(("head", "seq"), [(None, None), ("", 0), (GENESIS, 0)])
def test_an_empty_chain_is_intact(head, seq):
    """Nothing recorded is nothing wrong, unless the head says otherwise."""
    result = verify([], head, seq)

    assert result.ok
    assert (result.verified_to, result.records) == (0, 0)
    assert verify([], HEAD, SIZE).first_bad == 1


def test_verification_can_start_at_a_known_record():
    """From a trusted number and hash on, only later records are needed."""
    start = 500
    for first, expected in ((start, None), (start + 1, start), (start - 1, start - 1)):
        verifier = ChainVerifier(start, prev_of(start))
        for seq, record in numbered(RECORDS)[first - 1 :]:
            verifier.feed(seq, record)

        assert verifier.finish(HEAD, SIZE).first_bad == expected

    verifier = ChainVerifier(start, "b" * 64)
    assert not verifier.feed(start, RECORDS[start - 1])
    assert verifier.finish().first_bad == start


@pytest.mark.parametrize(
    "record",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"seq":1}', b'{"seq":"1","prev":"x"}', b"[" * 100_000, b"{" * 10],
)
def test_what_is_no_record_is_named(record):
    """Bytes that cannot be read are a finding, not a failure."""
    records = [*RECORDS[:9], record, *RECORDS[10:]]

    result = verify(numbered(records))

    assert result.first_bad == 10
    assert "cannot be read" in result.problem


def test_nothing_changes_after_the_first_problem():
    """Feeding on after a break keeps the first verdict."""
    verifier = ChainVerifier()
    assert verifier.feed(1, RECORDS[0])
    assert not verifier.feed(3, RECORDS[2])
    assert not verifier.feed(2, RECORDS[1])

    result = verifier.finish(HEAD, SIZE)

    assert (result.first_bad, result.problem, result.records) == (2, "record 2 is missing", 2)


def blocks_of(records, size=16):
    """The records as a store keeps them: blocks with the number of their last record."""
    found, last = [], 0
    for start in range(0, len(records), size):
        batch = records[start : start + size]
        last += len(batch)
        found.append((last, b"\n".join(batch)))
    return found


def verify_blocks(blocks):
    verifier = ChainVerifier()
    for last_seq, block in blocks:
        if not verifier.feed_block(last_seq, block):
            break
    return verifier.finish(HEAD, SIZE)


def test_blocks_of_records_are_proven():
    """Records in blocks are verified like records one by one."""
    for size in (1, 7, SIZE):
        result = verify_blocks(blocks_of(RECORDS, size))

        assert result.ok
        assert result.records == SIZE


def test_an_edited_byte_in_a_block_names_the_record():
    """Also when the edit joins two lines or breaks one: then a record at that line break is named."""
    source = seeded("block edit")
    for size in (1, 16, 100):
        for place in places(source):
            blocks = blocks_of(RECORDS, size)
            index = (place - 1) // size
            last_seq, block = blocks[index]
            before = source.choice([0, 1, source.randrange(len(RECORDS[place - 1]))])
            at = sum(len(record) + 1 for record in RECORDS[index * size : place - 1]) + before
            byte = source.choice([10, 32, source.randrange(256)])
            if block[at] == byte:
                continue
            blocks[index] = (last_seq, block[:at] + bytes([byte]) + block[at + 1 :])

            assert verify_blocks(blocks).first_bad == place


def test_an_edited_line_break_names_a_record_beside_it():
    """Two records on one line are found at the first of them."""
    source = seeded("line break")
    for place in places(source):
        if place % 16 == 0 or place == SIZE:
            continue
        blocks = blocks_of(RECORDS)
        index = (place - 1) // 16
        lines = blocks[index][1].split(b"\n")
        inside = (place - 1) % 16
        lines[inside : inside + 2] = [lines[inside] + b" " + lines[inside + 1]]
        blocks[index] = (blocks[index][0], b"\n".join(lines))

        assert verify_blocks(blocks).first_bad == place


@pytest.mark.parametrize("kind", ["delete", "insert", "repeat"])
def test_a_changed_number_of_records_in_a_block_is_named(kind):
    """A record more or less in a block is found at its place, also at the ends of the block."""
    source = seeded(kind)
    for place in places(source):
        blocks = blocks_of(RECORDS)
        index, inside = divmod(place - 1, 16)
        lines = blocks[index][1].split(b"\n")
        if kind == "delete":
            del lines[inside]
        elif kind == "insert":
            lines.insert(inside, forged(source, place, prev_of(place)))
        else:
            lines.insert(inside + 1, lines[inside])
        blocks[index] = (blocks[index][0], b"\n".join(lines))

        assert verify_blocks(blocks).first_bad == place + (kind == "repeat")


def test_deleted_and_inserted_blocks_are_named():
    """The first record of what is missing or too much is given."""
    for index in (0, 1, 60, len(RECORDS) // 16 - 1):
        blocks = blocks_of(RECORDS)
        first, (last_seq, block) = index * 16 + 1, blocks[index]
        twice = [*blocks[:index], (last_seq, block), (last_seq, block), *blocks[index + 1 :]]
        fake, prev = [], prev_of(first)
        for seq in range(first, first + 5):
            fake.append(forged(seeded("block"), seq, prev))
            prev = record_hash(fake[-1])
        inserted = [*blocks[:index], (first + 4, b"\n".join(fake)), *blocks[index:]]
        del blocks[index]

        assert verify_blocks(blocks).first_bad == first
        assert verify_blocks(twice).first_bad == last_seq + 1
        assert verify_blocks(inserted).first_bad == first


def test_a_block_under_another_number_is_found():
    """The number of a block has to fit what is in it."""
    for shift in (-3, -1, 1, 5):
        blocks = blocks_of(RECORDS)
        blocks[10] = (blocks[10][0] + shift, blocks[10][1])

        result = verify_blocks(blocks)

        assert result.first_bad is not None
        assert 161 <= result.first_bad <= 177
