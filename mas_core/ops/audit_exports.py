"""Exports of the audit: rows in a chosen format, read once, in order, and verified on the way.

Memory does not grow with the log. What is missing or broken does not stop an export: its result says so.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from mas_core.audit.chain import record_hash
from mas_core.audit.export import EXPORT_FORMATS, TextEncoder
from mas_core.audit.parquet_export import ParquetEncoder
from mas_core.audit.record_files import Warn
from mas_core.audit.verify import ChainVerifier, VerifyResult
from mas_core.errors import Conflict, UnknownFormat
from mas_core.model.audit_record import GENESIS, AuditRecord
from mas_core.ops.audit_filter import EVERYTHING, AuditFilter
from mas_core.ops.audit_sources import PartitionSource, decoded, evidence_folder, log_warning, sources_of
from mas_core.ops.system import System

FORMATS: Final = (*EXPORT_FORMATS, "parquet")
"""What an export can be written as."""
MARK_EVERY: Final = 65_536
"""Records between two points from which an interrupted export can go on."""

Write = Callable[[bytes], object]


class Position(msgspec.Struct, frozen=True):
    """A record of a partition: its number and its hash (SHA-256, hex)."""

    seq: int = 0
    head: str = GENESIS


class PartitionExport(msgspec.Struct):
    """What was exported of a partition, and what was read for it."""

    partition: int
    begin: Position
    """The record before the first one that was read."""
    end: Position
    """The newest record when the export began."""
    read: Position
    """The last record that was read."""
    rows: int = 0
    first: int | None = None
    """Number of the first row's record."""
    last: int | None = None
    result: VerifyResult | None = None
    """Whether the chain holds over what was read; None while that goes on."""


class ExportRequest(msgspec.Struct, frozen=True):
    """What is exported, and how."""

    format_name: str = "jsonl"
    wanted: AuditFilter = EVERYTHING
    cloudevents: bool = False
    """Each record in a CloudEvents envelope; json and jsonl only."""
    after: Mapping[int, Position] = {}
    """Partition -> the last record that is not wanted any more; the whole log when left out."""

    def described(self) -> dict[str, Any]:
        """What is said of it in a manifest, and what has to be the same to go on with an export."""
        fields = self.wanted.__dataclass_fields__
        chosen = {name: getattr(self.wanted, name) for name in fields}
        return {
            "format": self.format_name,
            "filter": {name: value for name, value in chosen.items() if value},
            "cloudevents": self.cloudevents,
            "after": {str(number): place.seq for number, place in self.after.items()},
        }


class Progress(msgspec.Struct):
    """How far an export has come; all that was written before is in the file."""

    partitions: list[PartitionExport]
    size: int = 0
    """Bytes that were written."""

    @property
    def rows(self) -> int:
        """Rows that were written."""
        return sum(part.rows for part in self.partitions)


class ExportResult(msgspec.Struct, frozen=True):
    """What was exported, and whether the chains it came from hold."""

    rows: int
    size: int
    """Bytes."""
    sha256: str
    """Of all bytes that were written, hex."""
    partitions: tuple[PartitionExport, ...]

    @property
    def positions(self) -> dict[int, Position]:
        """Partition -> the last record that was looked at, for the next export to go on from."""
        return {part.partition: part.end for part in self.partitions}


class Export:
    """One export. `begin` it, or give it the `progress` of one that was interrupted, then `run`.

    Args:
        system: The system.
        request: What is exported.
        progress: How far it came before.
        warn: Told in words what is damaged or missing.
        told: Told now and then how many records are written.

    Raises:
        UnknownFormat: The format is none of `FORMATS`, or needs something that is not installed.
    """

    def __init__(
        self,
        system: System,
        request: ExportRequest,
        *,
        progress: Progress | None = None,
        warn: Warn = log_warning,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._request = request
        self._told = told
        self._sources = sources_of(system, warn)
        self._records = system.store.records
        self._has_folder = evidence_folder(system.target) is not None
        self._is_new = progress is None
        self.progress = progress or Progress([])
        self._encoder = _encoder(system, request, progress)

    @property
    def is_resumable(self) -> bool:
        """Whether an interrupted export of this format can be gone on with."""
        return self._encoder.is_resumable

    async def run(
        self, write: Write, mark: Callable[[Progress], None] = lambda _: None, digest: Any = None
    ) -> ExportResult:
        """Write what is left of it.

        Args:
            write: Takes the bytes, piece by piece.
            mark: Called now and then, when the export could be gone on with from what was written.
            digest: SHA-256 of what was written before.

        Raises:
            Conflict: The log ends before the record after which the export was to begin.
        """
        found = digest or hashlib.sha256()

        def put(data: bytes) -> None:
            if data:
                found.update(data)
                self.progress.size += len(data)
                write(data)

        if self._is_new:
            self.progress.partitions = [await self._begun(source) for source in self._sources]
            put(self._encoder.start)
        for source, part in zip(self._sources, self.progress.partitions, strict=True):
            if part.result is None:
                await self._export(source, part, put, mark)
        put(self._encoder.finish())
        progress = self.progress
        return ExportResult(progress.rows, progress.size, found.hexdigest(), tuple(progress.partitions))

    async def _begun(self, source: PartitionSource) -> PartitionExport:
        seq, head = await self._records.audit_head(source.partition)
        end = Position(seq, head or GENESIS)
        files = source.files
        if files is not None and files.size > seq and (last := files.read(files.size, files.size)):
            end = Position(files.size, record_hash(last[0][1]))
        begin = self._request.after.get(source.partition, Position())
        if begin.seq > end.seq:
            raise Conflict(
                f"partition {source.partition} ends at record {end.seq}, and records to {begin.seq} were "
                "exported before: it was rolled back",
                hint="mas audit verify",
            )
        if files is not None and begin.seq == 0:
            begin = _before(source, self._request.wanted.since)
        if source.deleted is not None and begin.seq < source.deleted.last:
            begin = Position(source.deleted.last, source.deleted.head)
        return PartitionExport(source.partition, begin, end, begin)

    async def _export(
        self, source: PartitionSource, part: PartitionExport, put: Write, mark: Callable[[Progress], None]
    ) -> None:
        verifier = ChainVerifier(part.read.seq + 1, part.read.head)
        wanted, marked, is_cut = self._request.wanted, part.read.seq, False
        async for last_seq, texts in source.texts(part.read.seq + 1, part.end.seq):
            verifier.feed_block(last_seq, b"\n".join(texts))
            rows: list[tuple[int, bytes, AuditRecord | None]] = []
            for seq, text in enumerate(texts, last_seq - len(texts) + 1):
                record = decoded(text)
                # What cannot be read belongs into the evidence, whatever its time was.
                if record is None or wanted.matches(record):
                    rows.append((seq, text, record))
            if rows:
                put(self._encoder.rows(part.partition, rows))
                part.rows += len(rows)
                part.first = part.first or rows[0][0]
                part.last = rows[-1][0]
            part.read = Position(last_seq, record_hash(texts[-1]))
            if record is not None and self._has_folder and wanted.is_past(record, newest_first=False):
                is_cut = last_seq < part.end.seq
                break
            if last_seq - marked >= MARK_EVERY and verifier.is_settled:
                marked = last_seq
                mark(self.progress)
            self._told(self.progress.rows)
            await asyncio.sleep(0)
        part.result = verifier.finish() if is_cut else verifier.finish(part.end.head, part.end.seq)


async def export(
    system: System,
    format_name: str,
    write: Write,
    *,
    since: int = 0,
    until: int = 0,
    wanted: AuditFilter | None = None,
    warn: Warn = log_warning,
) -> ExportResult:
    """Write records as they are stored, partition after partition, and verify the chains.

    A broken chain does not stop the export: the result says where it breaks.

    Args:
        system: The system.
        format_name: One of `FORMATS`.
        write: Takes the bytes, piece by piece.
        since: Unix milliseconds; 0 for all.
        until: Unix milliseconds; 0 for all.
        wanted: Which records, in place of a span of time.
        warn: Told in words what is damaged or missing.

    Raises:
        UnknownFormat: The format is none of these.
    """
    request = ExportRequest(format_name, wanted or AuditFilter(since=since, until=until))
    return await Export(system, request, warn=warn).run(write)


def _encoder(
    system: System, request: ExportRequest, progress: Progress | None
) -> TextEncoder | ParquetEncoder:
    if request.format_name == "parquet":
        if request.cloudevents:
            raise UnknownFormat("CloudEvents are JSON", hint="--format jsonl")
        return ParquetEncoder()
    source = f"/mas/{system.store.namespace}/audit" if request.cloudevents else ""
    has_rows = None if progress is None else progress.rows > 0
    return TextEncoder(request.format_name, source=source, has_rows=has_rows)


def _before(source: PartitionSource, since: int) -> Position:
    """The last record of the folder that is older than a moment; times in a log never go back."""
    files = source.files
    if files is None or not since or not files.spans or files.spans[0].first != 1:
        return Position()
    low, high = 0, files.spans[0].last
    while low < high:
        middle = (low + high + 1) // 2
        found = files.read(middle, middle)
        record = decoded(found[0][1]) if found else None
        if record is None:
            return Position()
        if record.time < since:
            low = middle
        else:
            high = middle - 1
    return Position(low, record_hash(files.read(low, low)[0][1])) if low else Position()
