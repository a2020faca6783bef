"""Audit records as CSV, JSON and JSON Lines, piece by piece.

JSON and JSON Lines give stored bytes back unchanged, so an export can be verified like the store itself.
CSV is for spreadsheets: RFC 4180, times as RFC 3339, findings and details as JSON. A cell that a spreadsheet
could take for a formula gets a leading apostrophe, and so does one that starts with an apostrophe; taking one
away from each cell that has one gives the original back.

A CloudEvents envelope (version 1.0) holds the stored bytes of a record unchanged as its data.

What is stored but is no record is exported as `{"undecodable": BASE64}`, in CSV in the column `details` with
the kind `undecodable`.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from mas_core.audit.chain import decode_record, encode_record
from mas_core.base.clock import rfc3339
from mas_core.errors import UnknownFormat
from mas_core.model.audit_record import AuditRecord

CSV_COLUMNS: Final = AuditRecord.__struct_fields__
"""The fields of `AuditRecord` in their order: seq, time, kind, decision, ..., details, prev."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes spreadsheets read a cell as a formula, the full-width forms included; and our own mark."""


@dataclass(frozen=True, slots=True)
class _Format:
    record: Callable[[AuditRecord | bytes], bytes]
    start: bytes = b""
    between: bytes = b""
    end: bytes = b""


def export(records: Iterable[AuditRecord | bytes], format_name: str) -> Iterator[bytes]:
    """The records as `csv`, `json` (one array) or `jsonl` (one object a line).

    Args:
        records: Records, or their stored bytes.
        format_name: One of `EXPORT_FORMATS`.

    Raises:
        UnknownFormat: The format is none of these.
    """
    return _pieces(records, _format(format_name))


def export_async(records: AsyncIterable[AuditRecord | bytes], format_name: str) -> AsyncIterator[bytes]:
    """As `export`, for records that come one after the other from somewhere else.

    Raises:
        UnknownFormat: The format is none of these.
    """
    return _pieces_async(records, _format(format_name))


def _pieces(records: Iterable[AuditRecord | bytes], form: _Format) -> Iterator[bytes]:
    yield form.start
    before = b""
    for record in records:
        yield before + form.record(record)
        before = form.between
    yield form.end


async def _pieces_async(records: AsyncIterable[AuditRecord | bytes], form: _Format) -> AsyncIterator[bytes]:
    yield form.start
    before = b""
    async for record in records:
        yield before + form.record(record)
        before = form.between
    yield form.end


def _format(name: str) -> _Format:
    try:
        return _FORMATS[name]
    except KeyError:
        raise UnknownFormat(
            f"{name!r} is no format of an audit export", hint=f"use one of {', '.join(EXPORT_FORMATS)}"
        ) from None


def _stored(record: AuditRecord | bytes) -> bytes:
    """The bytes of a record, on one line whatever is stored."""
    if isinstance(record, AuditRecord):
        return encode_record(record)
    return record if _decoded(record) is not None else _undecodable(record)


def _csv_line(record: AuditRecord | bytes) -> bytes:
    if isinstance(record, bytes):
        found = _decoded(record)
        if found is None:
            cells = {"kind": "undecodable", "details": _undecodable(record).decode()}
            return _csv_row(cells.get(name, "") for name in CSV_COLUMNS)
        record = found
    return _csv_row(_cell(name, getattr(record, name)) for name in CSV_COLUMNS)


def _decoded(record: bytes) -> AuditRecord | None:
    if b"\n" in record or b"\r" in record:
        return None
    try:
        return decode_record(record)
    except (ValueError, RecursionError):
        return None


def _undecodable(record: bytes) -> bytes:
    return msgspec.json.encode({"undecodable": base64.b64encode(record).decode()})


def _cell(name: str, value: object) -> str:
    if name == "time" and isinstance(value, int):
        try:
            return rfc3339(value)
        except (ValueError, OverflowError, OSError):
            return str(value)
    if isinstance(value, tuple | dict):
        return msgspec.json.encode(value).decode() if value else ""
    return str(value)


def _csv_row(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(
        "'" + cell if cell.startswith(_FORMULA_STARTS) else cell for cell in cells
    )
    return line.getvalue().encode()


def _json_line(record: AuditRecord | bytes) -> bytes:
    return _stored(record) + b"\n"


_FORMATS: Final = {
    "csv": _Format(_csv_line, start=_csv_row(CSV_COLUMNS)),
    "json": _Format(_stored, start=b"[\n", between=b",\n", end=b"\n]\n"),
    "jsonl": _Format(_json_line),
}
EXPORT_FORMATS: Final = tuple(_FORMATS)
"""What comes as text, piece by piece."""


class TextEncoder:
    """An export as text, portion by portion.

    Args:
        format_name: One of `EXPORT_FORMATS`.
        source: Name of the log; each record comes as a CloudEvent of it. Empty for none.
        has_rows: Whether rows were written before, so that this goes on.

    Raises:
        UnknownFormat: The format is none of these, or cannot hold CloudEvents.
    """

    is_resumable = True

    def __init__(self, format_name: str, *, source: str = "", has_rows: bool | None = None) -> None:
        self._form = _format(format_name)
        self._source = source
        self._has_rows = bool(has_rows)
        self.start = b"" if has_rows is not None else self._form.start
        """What comes first."""
        if source and format_name == "csv":
            raise UnknownFormat("CloudEvents are JSON", hint="--format jsonl")

    def rows(self, partition: int, found: Sequence[tuple[int, bytes, AuditRecord | None]]) -> bytes:
        """Some rows: number by the place in the log, stored bytes, and the record in them, if it is one."""
        pieces = []
        for seq, text, record in found:
            if self._has_rows:
                pieces.append(self._form.between)
            self._has_rows = True
            pieces.append(self._row(partition, seq, text, record))
        return b"".join(pieces)

    def finish(self) -> bytes:
        """What comes last."""
        return self._form.end

    def _row(self, partition: int, seq: int, text: bytes, record: AuditRecord | None) -> bytes:
        if self._form.record is _csv_line:
            return _csv_line(text if record is None else record)
        if b"\r" in text or b"\n" in text:
            record = None
        line = _undecodable(text) if record is None else text
        if self._source:
            line = cloud_event(f"{self._source}/{partition}", seq, line, record)
        return line + b"\n" if self._form.record is _json_line else line


def cloud_event(source: str, seq: int, text: bytes, record: AuditRecord | None) -> bytes:
    """A record in a CloudEvents envelope, JSON format 1.0; `data` is the stored text."""
    about: dict[str, str] = {
        "specversion": "1.0",
        "id": str(seq),
        "source": source,
        "type": f"mas.audit.{record.kind if record else 'undecodable'}",
        "datacontenttype": "application/json",
    }
    if record is not None:
        about["time"] = _cell("time", record.time)
        if record.target:
            about["subject"] = record.target
    return msgspec.json.encode(about)[:-1] + b',"data":' + text + b"}"
