"""Where the records of a partition are read from: the evidence folder as far as it goes, else the store.

A record that is in both comes once, from the folder, which has an index. What neither has is told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from mas_core.audit import process
from mas_core.audit.chain import decode_record, record_hash
from mas_core.audit.deleted_records import DeletedRecords, read_deleted
from mas_core.audit.record_files import RecordFiles, Span, Warn
from mas_core.audit.search import search
from mas_core.audit.terms import Wanted
from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError, EvidenceDamaged
from mas_core.model.audit_record import AuditRecord
from mas_core.ops.archive import public_keys
from mas_core.ops.audit_filter import EVERYTHING, AuditFilter, StoredRecord
from mas_core.ops.system import System
from mas_core.settings.target import Target
from mas_core.store.store import Store

log = get_logger(__name__)

BLOCK_RECORDS = 256
"""Records that are read from a folder at once."""


def log_warning(text: str) -> None:
    """Log what is damaged or missing: what reading does unless somebody wants to be told."""
    log.warning("audit.read", reason=text)


def evidence_folder(target: Target) -> Path | None:
    """The folder of the evidence of a system, as its settings say; None where there is none."""
    try:
        folder = process.evidence_folder(target)
    except ConfigurationError:
        return None
    return folder if folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class Reading:
    """How records are read."""

    newest_first: bool = False
    use_index: bool = True
    warn: Warn = log_warning
    """Told in words what is damaged or missing."""


class Piece(NamedTuple):
    """Consecutive records and where they are; `last` is None where the store goes on."""

    first: int
    last: int | None
    is_stored: bool


class PartitionSource:
    """The records of one partition as they are when this is made, and what the store adds later.

    Args:
        store: The store.
        folder: The evidence folder, where there is one.
        partition: Which partition.
        warn: Told in words what is damaged or missing.
    """

    def __init__(self, store: Store, folder: Path | None, partition: int, warn: Warn) -> None:
        self.partition = partition
        self._records = store.records
        self._warn = warn
        self.files = RecordFiles(folder, partition, warn) if folder is not None else None
        self.deleted = self._read_deleted(folder) if folder is not None else None
        """What a retention policy had deleted, on the word of the folder; `verify` checks who signed it."""

    def pieces(self, first: int = 1) -> list[Piece]:
        """What to read where, oldest first, from a record on."""
        found = []
        at = max(first, self.deleted.last + 1) if self.deleted is not None else first
        for span in self.files.spans if self.files else ():
            if span.last < at:
                continue
            if span.first > at:
                found.append(Piece(at, span.first - 1, is_stored=True))
            found.append(Piece(max(at, span.first), span.last, is_stored=False))
            at = span.last + 1
        return [*found, Piece(at, None, is_stored=True)]

    async def check_continuity(self) -> None:
        """Tell when the store does not go on where the folder ends: it was rolled back, or is another one."""
        size = self.files.size if self.files else 0
        if self.files is None or not size:
            return
        seq, head = await self._records.audit_head(self.partition)
        found = self.files.read(size, size)
        last = record_hash(found[0][1]) if found else ""
        if seq > size:
            async for block in self._records.audit_blocks(self.partition, first_seq=size + 1):
                for text in block.records():
                    record = decoded(text)
                    if record is not None and record.seq == size + 1:
                        head, seq = record.prev, size
                break
        if seq < size:
            self._tell(f"the store ends at record {seq} and the evidence at {size}: it was rolled back")
        elif seq == size and head != last:
            self._tell(f"the store does not go on where the evidence ends, at record {size}")

    async def search(
        self, wanted: AuditFilter, asked: Wanted, how: Reading, matches: Callable[[AuditRecord], bool]
    ) -> AsyncIterator[StoredRecord]:
        """Records that match, in order; damaged ones are left to `verify`."""
        pieces = self.pieces()
        for piece in reversed(pieces) if how.newest_first else pieces:
            if piece.is_stored:
                async for found in self._stored(piece, wanted, how):
                    if found is None:
                        return
                    if matches(found.record):
                        yield found
                continue
            for found in self._kept(piece, wanted, asked, how, matches):
                if found is None:
                    return
                yield found

    async def texts(self, first: int, last: int) -> AsyncIterator[tuple[int, list[bytes]]]:
        """The stored bytes of a span, oldest first: number of the last record of each portion, and the portion."""
        for piece in self.pieces(first):
            end = last if piece.last is None else min(last, piece.last)
            if piece.first > end:
                return
            if not piece.is_stored and self.files is not None:
                for at in range(piece.first, end + 1, BLOCK_RECORDS):
                    found = self.files.read(at, min(end, at + BLOCK_RECORDS - 1))
                    if found:
                        yield found[-1][0], [text for _, text in found]
                continue
            async for block in self._records.audit_blocks(self.partition, first_seq=piece.first):
                texts = block.records()
                start = block.last_seq - len(texts) + 1
                if start > end:
                    break
                # Before the first record of all nothing can stand that was not put in.
                begin = max(0, piece.first - start) if piece.first > 1 else 0
                if texts := texts[begin : end - start + 1]:
                    yield min(end, block.last_seq), texts
                if block.last_seq >= end:
                    break

    def _kept(
        self,
        piece: Piece,
        wanted: AuditFilter,
        asked: Wanted,
        how: Reading,
        matches: Callable[[AuditRecord], bool],
    ) -> Iterator[StoredRecord | None]:
        """From the folder; None when nothing more can come."""
        if self.files is None or piece.last is None:
            return
        is_past = False

        def take(record: AuditRecord) -> bool:
            nonlocal is_past
            is_past = is_past or wanted.is_past(record, newest_first=how.newest_first)
            return matches(record)

        for portion in search(
            self.files,
            Span(piece.first, piece.last),
            asked,
            take,
            how.warn,
            newest_first=how.newest_first,
            use_index=how.use_index,
        ):
            for text, record in portion:
                yield StoredRecord(self.partition, text, record)
            if is_past:
                yield None
                return

    async def _stored(
        self, piece: Piece, wanted: AuditFilter, how: Reading
    ) -> AsyncIterator[StoredRecord | None]:
        """From the store, whatever is there; None when nothing more can come."""
        count = 0
        async for block in self._records.audit_blocks(
            self.partition, first_seq=piece.first, last_seq=piece.last, newest_first=how.newest_first
        ):
            texts = block.records()
            begin = max(block.last_seq - len(texts) + 1, piece.first)
            count += min(block.last_seq, piece.last or block.last_seq) - begin + 1
            for text in reversed(texts) if how.newest_first else texts:
                record = decoded(text)
                if record is None:
                    continue
                if wanted.is_past(record, newest_first=how.newest_first):
                    yield None
                    return
                if record.seq >= piece.first and (piece.last is None or record.seq <= piece.last):
                    yield StoredRecord(self.partition, text, record)
        if piece.last is not None and count < piece.last - piece.first + 1:
            self._warn(
                f"of the records {piece.first} to {piece.last} of partition {self.partition} some are neither "
                "in the store nor in the evidence folder; mas audit restore brings archived ones back"
            )

    def _read_deleted(self, folder: Path) -> DeletedRecords | None:
        try:
            return read_deleted(folder / f"p{self.partition}", self.partition, public_keys(folder))
        except (EvidenceDamaged, ConfigurationError) as error:
            self._tell(error.message)
            return None

    def _tell(self, what: str) -> None:
        self._warn(f"partition {self.partition}: {what}; mas audit verify tells more")


def sources_of(system: System, warn: Warn) -> list[PartitionSource]:
    """The records of each partition of a system."""
    folder = evidence_folder(system.target)
    return [PartitionSource(system.store, folder, partition, warn) for partition in range(system.store.width)]


async def merged(
    sources: Sequence[PartitionSource],
    wanted: AuditFilter,
    how: Reading,
    *,
    asked: Wanted | None = None,
    matches: Callable[[AuditRecord], bool] | None = None,
) -> AsyncGenerator[StoredRecord, None]:
    """The records of several partitions by time.

    Args:
        sources: Where they are.
        wanted: Which records.
        how: How they are read.
        asked: What the index is asked for, if that is not what the filter says.
        matches: Which records, if that is not what the filter says.
    """
    for source in sources:
        await source.check_continuity()
    streams = [
        source.search(wanted, asked or wanted.wanted, how, matches or wanted.matches) for source in sources
    ]
    heads = [await anext(stream, None) for stream in streams]
    pick = max if how.newest_first else min
    while present := [(head.record.time, index) for index, head in enumerate(heads) if head is not None]:
        _, index = pick(present, key=lambda item: item[0])
        head = heads[index]
        heads[index] = await anext(streams[index], None)
        if head is not None:
            yield head


async def partition_records(
    system: System, partition: int, wanted: AuditFilter = EVERYTHING, *, first_seq: int = 1
) -> AsyncIterator[StoredRecord]:
    """What the store holds of a partition from a record on, oldest first."""
    async for block in system.store.records.audit_blocks(partition, first_seq=first_seq):
        for text in block.records():
            record = decoded(text)
            if record is not None and record.seq >= first_seq and wanted.matches(record):
                yield StoredRecord(partition, text, record)


def decoded(text: bytes) -> AuditRecord | None:
    """A record; None when this is none."""
    try:
        return decode_record(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
