"""Audit records as CSV, JSON and JSON Lines."""

from __future__ import annotations

import base64
import csv
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mas_core.audit.chain import Chain, encode_record
from mas_core.audit.export import EXPORT_FORMATS, export, export_async
from mas_core.audit.verify import ChainVerifier
from mas_core.errors import UnknownFormat
from mas_core.model.audit_record import GENESIS, AuditRecord
from mas_core.model.decision import Finding

RECORD = AuditRecord(
    seq=3,
    time=1_769_850_600_250,
    decision="redacted",
    reason='said "no", twice',
    sender="billing",
    target="ledger",
    type="invoice.create",
    size=120,
    findings=(Finding("card", "pci", "/a", 0, 16, "redact"),),
    details={"retry": 1},
    prev=GENESIS,
)


def whole(records, format_name):
    return b"".join(export(records, format_name))


def rows(records):
    return list(csv.DictReader(io.StringIO(whole(records, "csv").decode(), newline="")))


def original(cell):
    return cell.removeprefix("'")


def test_csv_has_every_field_in_its_order():
    """The first line names the columns; times are readable, findings and details are JSON."""
    assert whole([], "csv").decode() == (
        "seq,time,kind,decision,reason,rule,sender,key_id,target,type,message_id,correlation_id,instance,size,"
        "findings,payload_hmac,gateway,actor,details,trace_id,parent_id,waited_ms,stages_us,hmac_key,"
        "fingerprints,prev\r\n"
    )
    row = rows([RECORD])[0]
    assert row["time"] == "2026-01-31T09:10:00.250Z"
    assert row["reason"] == 'said "no", twice'
    assert json.loads(row["findings"]) == [msgspec.to_builtins(RECORD.findings[0])]
    assert json.loads(row["details"]) == {"retry": 1}
    assert (row["seq"], row["size"], row["kind"], row["rule"]) == ("3", "120", "message", "")


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\x00", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_s27_cells_that_look_like_formulas_are_made_harmless(start):
    """No cell starts with what a spreadsheet computes, and taking the mark away gives the original back."""
    text = f'{start}HYPERLINK("http://x","y")'
    row = rows([AuditRecord(seq=1, time=1, sender=text, reason=f"safe {start}", actor=text, prev="")])[0]

    assert row["sender"] == row["actor"] == "'" + text
    assert row["reason"] == f"safe {start}"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.sampled_from("=+-@\t\r\n'\",\x00a")))
def test_any_text_comes_back_from_csv(first, second):
    """Quotes, commas, line breaks and marks are all undone by reading."""
    record = AuditRecord(seq=1, time=1, sender=first, reason=second, prev="")
    found = rows([record, RECORD])

    assert len(found) == 2
    assert original(found[0]["sender"]) == first
    assert original(found[0]["reason"]) == second
    assert not found[0]["reason"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_lines_end_as_rfc_4180_says():
    """Every line ends with carriage return and line feed, the last one too."""
    assert whole([RECORD, RECORD], "csv").count(b"\r\n") == 3
    assert whole([RECORD], "csv").endswith(b"\r\n")


def test_stored_bytes_are_exported_unchanged():
    """A JSON Lines export is verified like the store it came from."""
    chain = Chain()
    stored = [chain.append(RECORD) for _ in range(5)]

    lines = whole(stored, "jsonl").splitlines()

    assert lines == stored
    verifier = ChainVerifier()
    for seq, line in enumerate(lines, 1):
        verifier.feed(seq, line)
    assert verifier.finish(chain.head, 5).ok
    assert whole(stored, "json") == b"[\n" + b",\n".join(stored) + b"\n]\n"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_one_valid_array(count):
    """With any number of records, none included."""
    text = whole([RECORD] * count, "json")

    assert json.loads(text) == [json.loads(encode_record(RECORD))] * count


def test_nothing_is_exported_as_nothing():
    """No records give no lines."""
    assert whole([], "jsonl") == b""


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[1]",
        encode_record(RECORD) + b'\n{"seq":4}',
        b'{"seq":1,\r"time":1,"prev":""}',
        b"[" * 10_000,
    ],
)
def test_what_is_no_record_is_kept_but_marked(stored):
    """Tampered bytes neither break the file nor forge a line; they can be recovered."""
    lines = whole([stored, RECORD], "jsonl").split(b"\n")
    row = rows([stored, RECORD])[0]

    assert len(lines) == 3
    assert base64.b64decode(json.loads(lines[0])["undecodable"]) == stored
    assert json.loads(whole([stored], "json"))[0] == json.loads(lines[0])
    assert row["kind"] == "undecodable"
    assert json.loads(row["details"]) == json.loads(lines[0])


@pytest.mark.parametrize("time", [-1, 10**18, -(10**18), 10**30])
def test_impossible_times_are_exported_as_they_are(time):
    """A record with a time outside of the calendar does not stop an export."""
    assert original(rows([AuditRecord(seq=1, time=time, prev="")])[0]["time"]).startswith(
        ("1969-", str(time))
    )


@pytest.mark.parametrize("format_name", EXPORT_FORMATS)
async def test_records_that_come_one_by_one_give_the_same(format_name):
    """The asynchronous export writes the same bytes, a piece a record."""

    async def coming():
        for record in (RECORD, RECORD):
            yield record

    pieces = [piece async for piece in export_async(coming(), format_name)]

    assert b"".join(pieces) == whole([RECORD, RECORD], format_name)
    assert len(pieces) == 4


def test_unknown_formats_are_refused_at_once():
    """The error names those that there are, before anything is read."""
    with pytest.raises(UnknownFormat, match="'xml'") as caught:
        export(iter([RECORD]), "xml")
    assert caught.value.hint == ("use one of csv, json, jsonl",)
