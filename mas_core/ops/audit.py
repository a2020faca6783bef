"""The audit: list, follow, get, verify, export."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import cached_property

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.audit.export import EXPORT_FORMATS, export_async
from mas_core.audit.verify import ChainVerifier, VerifyResult
from mas_core.errors import MessageNotFound
from mas_core.model.audit_record import AuditRecord
from mas_core.ops.evidence import verify_evidence
from mas_core.ops.system import System
from mas_core.security.type_glob import check_glob, compile_glob

FOLLOW_INTERVAL_S = 0.25
FORMATS = EXPORT_FORMATS
"""What `export` can write."""


@dataclass(frozen=True)
class AuditFilter:
    """Which records are wanted; everything that is left out matches all."""

    sender: str = ""
    target: str = ""
    message_type: str = ""
    """A glob, such as `invoice.*`."""
    decision: str = ""
    kind: str = ""
    rule: str = ""
    since: int = 0
    """Unix milliseconds."""
    until: int = 0

    def __post_init__(self) -> None:
        """Check the pattern for types.

        Raises:
            UsageError: It cannot be one.
        """
        if self.message_type:
            check_glob(self.message_type)

    def matches(self, record: AuditRecord) -> bool:
        """Whether a record is wanted."""
        return (
            (not self.sender or record.sender == self.sender)
            and (not self.target or record.target == self.target)
            and (not self.message_type or self._matches_type(record.type))
            and (not self.decision or record.decision == self.decision)
            and (not self.kind or record.kind == self.kind)
            and (
                not self.rule
                or record.rule == self.rule
                or any(finding.rule == self.rule for finding in record.findings)
            )
            and (not self.since or record.time >= self.since)
            and (not self.until or record.time < self.until)
        )

    def is_past(self, record: AuditRecord, *, newest_first: bool) -> bool:
        """Whether neither this record nor any that comes after it, in this order, can be wanted."""
        if newest_first:
            return record.time < self.since
        return 0 < self.until <= record.time

    @cached_property
    def _matches_type(self) -> Callable[[str], bool]:
        return compile_glob(self.message_type)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record with where it stands and its stored bytes."""

    partition: int
    text: bytes
    record: AuditRecord


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """What verification found in one partition."""

    partition: int
    result: VerifyResult


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was exported, and whether the chains it came from hold."""

    rows: int
    sha256: str
    """Of all bytes that were written, hex."""
    partitions: tuple[PartitionResult, ...]


EVERYTHING = AuditFilter()


async def records(
    system: System, wanted: AuditFilter = EVERYTHING, *, newest_first: bool = True
) -> AsyncGenerator[StoredRecord, None]:
    """Records by time, read as they are asked for; damaged ones are left to `verify`."""
    sources = [
        _partition_records(system, partition, wanted, newest_first=newest_first)
        for partition in range(system.store.partitions)
    ]
    heads = [await anext(source, None) for source in sources]
    while any(head is not None for head in heads):
        present = [(head.record.time, index) for index, head in enumerate(heads) if head is not None]
        _, index = (
            max(present, key=lambda item: item[0]) if newest_first else min(present, key=lambda item: item[0])
        )
        head = heads[index]
        heads[index] = await anext(sources[index], None)
        if head is not None:
            yield head


async def newest(system: System) -> dict[int, int]:
    """Number of the newest record of each partition, for `follow` to go on from."""
    store = system.store
    return {number: (await store.records.audit_head(number))[0] for number in range(store.partitions)}


async def follow(
    system: System, after: dict[int, int], wanted: AuditFilter = EVERYTHING
) -> AsyncIterator[StoredRecord | None]:
    """Records as they are written; None now and then, so that a caller can look at the clock.

    Args:
        system: The system.
        after: The last record that was seen of each partition, from `newest`; moved along, so that
            whoever lost the connection goes on with it.
        wanted: Which records.

    Raises:
        StoreUnreachable: The connection is lost.
    """
    while True:
        for partition in sorted(after):
            async for found in _partition_records(system, partition, first_seq=after[partition] + 1):
                after[partition] = found.record.seq
                if wanted.matches(found.record):
                    yield found
        yield None
        await asyncio.sleep(FOLLOW_INTERVAL_S)


async def get(system: System, identifier: str) -> list[StoredRecord]:
    """All records about a message id, oldest first; or the one with a number, `SEQ` or `PARTITION:SEQ`.

    Raises:
        MessageNotFound: There is none.
    """
    partition, _, number = identifier.rpartition(":")
    if number.isdecimal() and (not partition or partition.isdecimal()):
        places = [int(partition)] if partition else list(range(system.store.partitions))
        for place in places:
            if place < system.store.partitions:
                async for found in _partition_records(system, place, first_seq=int(number)):
                    if found.record.seq == int(number):
                        return [found]
                    break
    else:
        matching = [
            found
            async for found in records(system, newest_first=False)
            if identifier in (found.record.message_id, found.record.correlation_id)
        ]
        if matching:
            return matching
    raise MessageNotFound(
        f"the audit has no record of {identifier}", hint="mas audit list", identifier=identifier
    )


async def verify(system: System) -> list[PartitionResult]:
    """Verify the store and the evidence folder: one result for each partition and place."""
    return [PartitionResult(found.partition, found.result) for found in await verify_evidence(system)]


async def export(
    system: System, format_name: str, write: Callable[[bytes], object], *, since: int = 0, until: int = 0
) -> ExportResult:
    """Write the records of a span as they are stored, partition after partition, and verify the chains.

    A broken chain does not stop the export: the result says where it breaks.

    Args:
        system: The system.
        format_name: One of `FORMATS`.
        write: Takes the bytes, piece by piece.
        since: Unix milliseconds; 0 for all.
        until: Unix milliseconds; 0 for all.

    Raises:
        UnknownFormat: The format is none of these.
    """
    span = AuditFilter(since=since, until=until)
    results: list[PartitionResult] = []
    rows = 0

    async def texts() -> AsyncIterator[bytes]:
        nonlocal rows
        for partition in range(system.store.partitions):
            seq, head = await system.store.records.audit_head(partition)
            verifier = ChainVerifier()
            async for block in system.store.records.audit_blocks(partition):
                verifier.feed_block(block.last_seq, block.text)
                for text in block.records():
                    record = _decoded(text)
                    # What cannot be read belongs into the evidence, whatever its time was.
                    if record is None or span.matches(record):
                        rows += 1
                        yield text
                if block.last_seq >= seq:
                    break
            results.append(PartitionResult(partition, verifier.finish(head, seq)))

    digest = hashlib.sha256()
    async for piece in export_async(texts(), format_name):
        digest.update(piece)
        write(piece)
    return ExportResult(rows, digest.hexdigest(), tuple(results))


async def _partition_records(
    system: System,
    partition: int,
    wanted: AuditFilter = EVERYTHING,
    *,
    first_seq: int = 1,
    newest_first: bool = False,
) -> AsyncIterator[StoredRecord]:
    blocks = system.store.records.audit_blocks(partition, first_seq=first_seq, newest_first=newest_first)
    async for block in blocks:
        texts = block.records()
        for text in reversed(texts) if newest_first else texts:
            record = _decoded(text)
            if record is None:
                continue
            if wanted.is_past(record, newest_first=newest_first):
                return
            if record.seq >= first_seq and wanted.matches(record):
                yield StoredRecord(partition, text, record)


def _decoded(text: bytes) -> AuditRecord | None:
    try:
        return decode_record(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
