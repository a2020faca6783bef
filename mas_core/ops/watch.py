"""Watching: one event for every decision, as it is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import DELIVERED
from mas_core.ops import audit
from mas_core.ops.system import System
from mas_core.security.type_glob import check_glob, compile_glob

BLOCK_MS = 500
OPERATOR_KINDS = frozenset({"operator", "audit.query"})


class LiveEvent(msgspec.Struct, frozen=True):
    """A decision that was just made."""

    time: int
    """Unix milliseconds by the server's clock."""
    sender: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    type: str
    bytes: int
    decision: str
    reason: str
    id: str
    rule: str
    ms: int = 0
    """How long it lay before the gateway decided, in milliseconds."""

    @classmethod
    def of(cls, record: AuditRecord) -> Self:
        """What a record says to somebody who watches."""
        sender = record.sender or str(record.details.get("claimed_sender", ""))
        return cls(
            record.time,
            sender,
            record.target,
            record.type or record.kind,
            record.size,
            record.decision,
            record.reason,
            record.message_id,
            record.rule,
            record.waited_ms + sum(record.stages_us.values()) // 1000,
        )


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted; everything that is left out matches all."""

    agent: str = ""
    sender: str = ""
    target: str = ""
    message_type: str = ""
    """A glob, such as `invoice.*`."""
    refused_only: bool = False

    def __post_init__(self) -> None:
        """Check the pattern for types.

        Raises:
            UsageError: It cannot be one.
        """
        if self.message_type:
            check_glob(self.message_type)

    def matches(self, event: LiveEvent) -> bool:
        """Whether an event is wanted."""
        return (
            (not self.agent or self.agent in (event.sender, event.target))
            and (not self.sender or event.sender == self.sender)
            and (not self.target or event.target == self.target)
            and (not self.message_type or self._matches_type(event.type))
            and (not self.refused_only or event.decision not in DELIVERED)
        )

    @cached_property
    def _matches_type(self) -> Callable[[str], bool]:
        return compile_glob(self.message_type)


async def newest(system: System) -> dict[int, int]:
    """The newest record of each partition, for `follow` to go on from."""
    records = system.store.records
    return {number: (await records.audit_head(number))[0] for number in range(system.store.width)}


async def latest(system: System, count: int) -> list[LiveEvent]:
    """The newest events, oldest first."""
    found: list[LiveEvent] = []
    async with aclosing(audit.records(system)) as records:
        async for item in records:
            if not is_of_operator(item.record):
                found.append(LiveEvent.of(item.record))
            if len(found) >= count:
                break
    return found[::-1]


async def recent(
    system: System, since: int, until: dict[int, int], wanted: EventFilter | None = None
) -> AsyncIterator[LiveEvent]:
    """Events from a time on, oldest first, until the records that `newest` gave.

    Args:
        system: The system.
        since: Unix milliseconds.
        until: The last record of each partition that is told.
        wanted: Which events.
    """
    since_then = audit.AuditFilter(since=since)
    async with aclosing(audit.records(system, since_then, newest_first=False)) as records:
        async for item in records:
            if is_of_operator(item.record) or item.record.seq > until.get(item.partition, 0):
                continue
            event = LiveEvent.of(item.record)
            if wanted is None or wanted.matches(event):
                yield event


async def around(system: System, moment: int, count: int) -> list[LiveEvent]:
    """Events of the past, oldest first: so many up to a moment, and so many after it.

    Args:
        system: The system.
        moment: Unix milliseconds.
        count: How many on each side at most.
    """
    sides: list[list[LiveEvent]] = []
    for is_before in (True, False):
        wanted = audit.AuditFilter(until=moment + 1) if is_before else audit.AuditFilter(since=moment + 1)
        side: list[LiveEvent] = []
        async with aclosing(audit.records(system, wanted, newest_first=is_before)) as records:
            async for item in records:
                if not is_of_operator(item.record):
                    side.append(LiveEvent.of(item.record))
                if len(side) >= count:
                    break
        sides.append(side)
    before, after = sides
    return [*before[::-1], *after]


def is_of_operator(record: AuditRecord) -> bool:
    """Whether a record tells what an operator did or asked, which is no decision."""
    return record.kind in OPERATOR_KINDS and bool(record.actor)


async def follow(
    system: System,
    after: dict[int, int],
    wanted: EventFilter | None = None,
    *,
    missed: Callable[[int, int], None] | None = None,
) -> AsyncIterator[LiveEvent | None]:
    """Events as they come; None now and then while there are none, so that a caller can look at the clock.

    Args:
        system: The system.
        after: The last record that was seen of each partition, from `newest`; moved along, so that
            whoever lost the connection goes on with it. 0 is before all records.
        wanted: Which events.
        missed: Told the partition and the number of records that were gone before they could be read.

    Raises:
        StoreUnreachable: The connection is lost.
    """
    while True:
        found = await system.store.records.new_audit_blocks(after, BLOCK_MS)
        if not found:
            yield None
        for partition, block in found:
            texts = block.records()
            gone = block.last_seq - len(texts) - after[partition]
            if gone > 0 and missed is not None:
                missed(partition, gone)
            after[partition] = block.last_seq
            for text in texts:
                try:
                    record = decode_record(text)
                except msgspec.DecodeError:
                    continue
                if is_of_operator(record):
                    # Whoever watches would see their own question first.
                    continue
                event = LiveEvent.of(record)
                if wanted is None or wanted.matches(event):
                    yield event
