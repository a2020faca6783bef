"""Which stage of the gateways costs what, from the times that audit records hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import Final

import msgspec

from mas_core.model.audit_record import AuditRecord
from mas_core.ops import audit
from mas_core.ops.audit_filter import StoredRecord
from mas_core.ops.system import System

LATELY: Final = 2_000
"""Newest records that are looked at."""


class StageTime(msgspec.Struct, frozen=True):
    """What one stage took."""

    stage: str
    p50_us: float
    """Microseconds for the messages that were judged together: half of the times it took less."""
    p95_us: float
    us_per_message: float
    share: float
    """Of the time of all stages, from 0 to 1."""


class StageTimes(msgspec.Struct, frozen=True):
    """What all stages took lately, in the order in which messages pass them."""

    messages: int = 0
    """Messages that were looked at."""
    rounds: int = 0
    """Times that messages were judged together."""
    waited_p50_ms: float = 0.0
    """How long messages lay before they were judged."""
    waited_p95_ms: float = 0.0
    stages: tuple[StageTime, ...] = ()


async def stage_times(system: System, *, records: int = LATELY) -> StageTimes:
    """What the stages of all gateways took lately.

    Args:
        system: The system.
        records: How many of the newest audit records are looked at.
    """
    async with aclosing(audit.records(system)) as found:
        return times_in([item async for item in _first(found, records)])


def times_in(newest_first: Iterable[StoredRecord]) -> StageTimes:
    """What these records tell; a message without times was judged together with the one before that has some."""
    rounds: list[Mapping[str, int]] = []
    waited: list[int] = []
    judged = 0
    led: dict[int, int] = {}
    for item in newest_first:
        record: AuditRecord = item.record
        if record.kind != "message":
            continue
        led[item.partition] = led.get(item.partition, 0) + 1
        waited.append(record.waited_ms)
        if record.stages_us:
            rounds.append(record.stages_us)
            judged += led.pop(item.partition)
    if not rounds:
        return StageTimes()
    names = list(dict.fromkeys(name for stages in sorted(rounds, key=len, reverse=True) for name in stages))
    everything = sum(sum(stages.values()) for stages in rounds) or 1
    stages = []
    for name in names:
        took = sorted(stages[name] for stages in rounds if name in stages)
        total = sum(took)
        stages.append(
            StageTime(name, _at(took, 0.5), _at(took, 0.95), round(total / judged, 2), total / everything)
        )
    waited.sort()
    return StageTimes(judged, len(rounds), _at(waited, 0.5), _at(waited, 0.95), tuple(stages))


def _at(ordered: list[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


async def _first(found: AsyncIterator[StoredRecord], count: int) -> AsyncIterator[StoredRecord]:
    async for item in found:
        yield item
        count -= 1
        if count <= 0:
            return
