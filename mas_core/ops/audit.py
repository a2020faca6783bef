"""The audit: list, follow, get, verify, export."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.audit.verify import ChainVerifier, VerifyResult
from mas_core.errors import MessageNotFound
from mas_core.model.audit_record import AuditRecord
from mas_core.ops.system import System

FOLLOW_INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records are wanted; everything that is left out matches all."""

    sender: str = ""
    target: str = ""
    message_type: str = ""
    decision: str = ""
    kind: str = ""
    rule: str = ""
    since: int = 0
    """Unix milliseconds."""
    until: int = 0

    def matches(self, record: AuditRecord) -> bool:
        """Whether a record is wanted."""
        return (
            (not self.sender or record.sender == self.sender)
            and (not self.target or record.target == self.target)
            and (not self.message_type or record.type == self.message_type)
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


EVERYTHING = AuditFilter()


async def records(
    system: System, wanted: AuditFilter = EVERYTHING, *, newest_first: bool = True
) -> AsyncIterator[StoredRecord]:
    """Records by time, read as they are asked for; damaged ones are left to `verify`."""
    sources = [
        _partition_records(system, partition, newest_first=newest_first)
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
        if head is not None and wanted.matches(head.record):
            yield head


async def follow(system: System, wanted: AuditFilter = EVERYTHING) -> AsyncIterator[StoredRecord]:
    """Records that are written from now on, as they come."""
    partitions = range(system.store.partitions)
    last = {partition: (await system.store.records.audit_head(partition))[0] for partition in partitions}
    while True:
        for partition in partitions:
            async for found in _partition_records(system, partition, first_seq=last[partition] + 1):
                last[partition] = found.record.seq
                if wanted.matches(found.record):
                    yield found
        await asyncio.sleep(FOLLOW_INTERVAL_S)


async def get(system: System, identifier: str) -> list[StoredRecord]:
    """All records about a message id, oldest first; or the one with a sequence number `SEQ` or `PARTITION:SEQ`.

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
    """Check the whole chain of every partition against the head that the store names."""
    results = []
    for partition in range(system.store.partitions):
        # The head is read first: records that are written meanwhile lie after it and are not looked at.
        seq, head = await system.store.records.audit_head(partition)
        verifier = ChainVerifier()
        async for block in system.store.records.audit_blocks(partition):
            if not verifier.feed_block(block.last_seq, block.text) or block.last_seq >= seq:
                break
        results.append(PartitionResult(partition, verifier.finish(head, seq)))
    return results


async def _partition_records(
    system: System, partition: int, *, first_seq: int = 1, newest_first: bool = False
) -> AsyncIterator[StoredRecord]:
    blocks = system.store.records.audit_blocks(partition, first_seq=first_seq, newest_first=newest_first)
    async for block in blocks:
        texts = block.records()
        for text in reversed(texts) if newest_first else texts:
            try:
                record = decode_record(text)
            except msgspec.DecodeError:
                continue
            if record.seq >= first_seq:
                yield StoredRecord(partition, text, record)
