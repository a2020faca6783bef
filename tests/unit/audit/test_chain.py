"""The bytes of audit records and how they link."""

from __future__ import annotations

import hashlib

import msgspec

from mas_core.audit.chain import Chain, decode_record, encode_record, record_hash
from mas_core.model.audit_record import GENESIS, AuditRecord
from mas_core.model.decision import Finding


def test_records_are_numbered_and_hold_the_hash_before():
    """The first record is number 1 after the genesis; each next one names the bytes before it."""
    chain = Chain()
    texts = [chain.append(AuditRecord(seq=0, time=time, prev="")) for time in (5, 6, 7)]

    records = [decode_record(text) for text in texts]
    assert [record.seq for record in records] == [1, 2, 3]
    assert [record.prev for record in records] == [
        GENESIS,
        hashlib.sha256(texts[0]).hexdigest(),
        hashlib.sha256(texts[1]).hexdigest(),
    ]
    assert (chain.seq, chain.head) == (3, record_hash(texts[2]))


def test_a_chain_goes_on_from_a_stored_head():
    """Given number and hash of the last record, the next one follows it."""
    first = Chain()
    first.append(AuditRecord(seq=0, time=1, prev=""))

    record = decode_record(Chain(first.seq, first.head).append(AuditRecord(seq=0, time=2, prev="")))

    assert (record.seq, record.prev) == (2, first.head)


def test_hostile_text_stays_on_one_line():
    """No field can start a new line or a new record."""
    hostile = '\n\r\x00\x1b"},{\u2028\u0085'
    record = AuditRecord(
        seq=1, time=1, reason=hostile, details={hostile: [hostile]}, prev=GENESIS, type=hostile
    )

    text = encode_record(record)

    assert text.count(b"\n") == 0
    assert text.count(b"\r") == 0
    assert decode_record(text) == record


def test_encoding_is_stable():
    """Fields stand in their order, without spaces and without those that say nothing."""
    record = AuditRecord(
        seq=7,
        time=1,
        decision="redacted",
        findings=(Finding("card", "pci", "/a", 0, 16, "redact"),),
        prev="ab",
    )

    text = encode_record(record)

    assert text == (
        b'{"seq":7,"time":1,"decision":"redacted","findings":[{"rule":"card","category":"pci","path":"/a",'
        b'"start":0,"end":16,"action":"redact"}],"prev":"ab"}'
    )
    assert encode_record(decode_record(text)) == text


def test_a_record_that_cannot_be_written_leaves_the_chain_as_it_was():
    """A failed append moves neither number nor head."""
    chain = Chain()
    try:
        chain.append(AuditRecord(seq=0, time=1, details={"x": object()}, prev=""))
    except TypeError:
        pass
    else:
        raise AssertionError

    assert (chain.seq, chain.head) == (0, GENESIS)
    assert msgspec.json.decode(chain.append(AuditRecord(seq=0, time=1, prev="")))["seq"] == 1
