"""The audit: list, count, follow, get, verify."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from mas_core.audit.record_files import Warn
from mas_core.audit.terms import Wanted
from mas_core.audit.verify import VerifyResult
from mas_core.base.clock import rfc3339
from mas_core.errors import MessageNotFound, UsageError
from mas_core.model.audit_record import AuditRecord
from mas_core.ops.audit_filter import EVERYTHING, AuditFilter, StoredRecord
from mas_core.ops.audit_sources import Reading, decoded, log_warning, merged, partition_records, sources_of
from mas_core.ops.evidence import verify_evidence
from mas_core.ops.system import System

__all__ = [
    "COUNTED_BY", "EVERYTHING", "AuditFilter", "PartitionResult", "StoredRecord",
    "count", "follow", "get", "newest", "records", "verify",
]  # fmt: skip

FOLLOW_INTERVAL_S = 0.25
COUNTED_BY = (
    "sender", "target", "type", "decision", "rule", "kind", "actor", "finding", "category", "day", "hour",
)  # fmt: skip
"""What `count` can count by; times are those of UTC."""


@dataclass(frozen=True, slots=True)
class PartitionResult:
    """What verification found in one partition."""

    partition: int
    result: VerifyResult


async def records(
    system: System,
    wanted: AuditFilter = EVERYTHING,
    *,
    newest_first: bool = True,
    use_index: bool = True,
    warn: Warn = log_warning,
) -> AsyncGenerator[StoredRecord, None]:
    """Records by time, read as they are asked for; damaged ones are left to `verify`.

    Args:
        system: The system.
        wanted: Which records.
        newest_first: In which order.
        use_index: Whether the index of the evidence folder says where to look; without it all is read.
        warn: Told in words what is damaged or missing.
    """
    how = Reading(newest_first=newest_first, use_index=use_index, warn=warn)
    async with aclosing(merged(sources_of(system, warn), wanted, how)) as found:
        async for item in found:
            yield item


async def count(
    system: System,
    wanted: AuditFilter = EVERYTHING,
    *,
    by: str = "",
    use_index: bool = True,
    warn: Warn = log_warning,
) -> dict[str, int]:
    """How many records there are; of each value of a field, the most frequent first.

    Args:
        system: The system.
        wanted: Which records.
        by: One of `COUNTED_BY`; nothing for one number, under the name "".
        use_index: As for `records`.
        warn: Told in words what is damaged or missing.

    Raises:
        UsageError: Records are not counted by this.
    """
    if by and by not in COUNTED_BY:
        raise UsageError(f"records are not counted by {by!r}", hint=f"--by {'|'.join(COUNTED_BY)}")
    found: Counter[str] = Counter()
    how = Reading(use_index=use_index, warn=warn)
    for source in sources_of(system, warn):
        await source.check_continuity()
        async for item in source.search(wanted, wanted.wanted, how, wanted.matches):
            found.update(_values(item.record, by))
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


async def newest(system: System) -> dict[int, int]:
    """Number of the newest record of each partition, for `follow` to go on from."""
    store = system.store
    return {number: (await store.records.audit_head(number))[0] for number in range(store.width)}


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
            async for found in partition_records(system, partition, first_seq=after[partition] + 1):
                after[partition] = found.record.seq
                if wanted.matches(found.record):
                    yield found
        yield None
        await asyncio.sleep(FOLLOW_INTERVAL_S)


async def get(
    system: System,
    identifier: str,
    *,
    with_caused: bool = False,
    use_index: bool = True,
    warn: Warn = log_warning,
) -> list[StoredRecord]:
    """All records about a message id, oldest first; or the one with a number, `SEQ` or `PARTITION:SEQ`.

    Args:
        system: The system.
        identifier: Id or number.
        with_caused: With the records of what its handler sent.
        use_index: As for `records`.
        warn: Told in words what is damaged or missing.

    Raises:
        MessageNotFound: There is none.
    """
    partition, _, number = identifier.rpartition(":")
    if number.isdecimal() and (not partition or partition.isdecimal()):
        for source in sources_of(system, warn):
            if partition and source.partition != int(partition):
                continue
            async for _, texts in source.texts(int(number), int(number)):
                record = decoded(texts[-1])
                if record is not None and record.seq == int(number):
                    return [StoredRecord(source.partition, texts[-1], record)]
    else:

        def is_about(record: AuditRecord) -> bool:
            return identifier in (record.message_id, record.correlation_id) or (
                with_caused and record.parent_id == identifier
            )

        how = Reading(use_index=use_index, warn=warn)
        asked = Wanted(identifier=identifier)
        found = merged(sources_of(system, warn), EVERYTHING, how, asked=asked, matches=is_about)
        matching = [item async for item in found]
        if matching:
            return matching
    raise MessageNotFound(
        f"the audit has no record of {identifier}", hint="mas audit list", identifier=identifier
    )


async def verify(system: System) -> list[PartitionResult]:
    """Verify the store and the evidence folder: one result for each partition and place."""
    return [PartitionResult(found.partition, found.result) for found in await verify_evidence(system)]


def _values(record: AuditRecord, by: str) -> Iterable[str]:
    if not by:
        return ("",)
    if by == "finding":
        return sorted({finding.rule for finding in record.findings}) or ("",)
    if by == "category":
        return sorted({finding.category for finding in record.findings}) or ("",)
    if by in {"day", "hour"}:
        return (_moment(record.time)[: 10 if by == "day" else 13],)
    return (str(getattr(record, by)),)


def _moment(time: int) -> str:
    try:
        return rfc3339(time)
    except (ValueError, OverflowError, OSError):
        return ""
