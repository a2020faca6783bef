"""Reads the outside ledgers, the audit and the dead letters, and counts what does not fit together."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mas_core.base.ids import partition_of
from mas_core.model.dead_letter import LetterFacts
from mas_core.model.decision import Decision
from mas_core.ops import audit
from mas_core.ops.dead_letter_views import facts_of
from mas_core.ops.system import System
from tests.faults.load import TYPE
from tests.faults.outcome import Outcome

SHOWN = 5
"""Offending messages that are told in full."""


@dataclass(frozen=True)
class Ack:
    """A message whose sender was told that it is accepted."""

    message_id: str
    target: str
    number: int
    sent: int
    acknowledged: int


@dataclass(frozen=True)
class Handling:
    """A handler that took a message."""

    message_id: str
    attempt: int
    pid: int
    number: int
    time: int


@dataclass(frozen=True)
class Fault:
    """When a fault was injected, and what it hit."""

    time: int
    """Nanoseconds of the monotonic clock."""
    partitions: tuple[int, ...]
    """Partitions that could take no messages any more."""


@dataclass
class Ledgers:
    """What the processes under test wrote down."""

    acks: list[Ack] = field(default_factory=list)
    handled: list[Handling] = field(default_factory=list)
    done: list[Handling] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lines_of: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Ledgers:
        """All lines of these files; the last may be cut off by a crash."""
        found = cls()
        for path in paths:
            for line in path.read_text(errors="replace").split("\n")[:-1]:
                kind, *words = line.split(" ")
                match kind:
                    case "a":
                        message_id, target, *numbers = words
                        found.acks.append(Ack(message_id, target, *map(int, numbers)))
                    case "h":
                        found.handled.append(Handling(words[0], *map(int, words[1:])))
                    case "s":
                        found.done.append(Handling(words[0], 0, *map(int, words[1:])))
                    case "u":
                        found.unknown.append(line)
                    case "r":
                        found.refused.append(line)
                    case "e":
                        found.errors.append(line)
        return found


class _Record(msgspec.Struct):
    """What the checker wants of an audit record."""

    kind: str = "message"
    decision: str = ""
    type: str = ""
    message_id: str = ""


@dataclass
class Audited:
    """What the audit says of the messages of the load."""

    allowed: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    records: int = 0
    broken: list[str] = field(default_factory=list)

    @classmethod
    async def read(cls, system: System) -> Audited:
        """Everything that the store holds; its chain is verified as well."""
        found = cls()
        decoder = msgspec.json.Decoder(_Record)
        for partition in range(system.store.partitions):
            async for block in system.store.records.audit_blocks(partition):
                for text in block.records():
                    found.records += 1
                    record = decoder.decode(text)
                    if record.type == TYPE and record.kind == "message":
                        found.decisions[record.decision] += 1
                        if Decision(record.decision).is_delivered:
                            found.allowed[record.message_id] += 1
        for item in await audit.verify(system):
            if not item.result.ok:
                found.broken.append(f"partition {item.partition}: {item.result}")
        return found


async def dead_letters(system: System) -> set[str]:
    """Ids of the messages that are kept as dead letters."""
    found: set[str] = set()
    for partition in range(system.store.partitions):
        async for page in system.store.dead_letters.pages(partition):
            for stored in page:
                facts: LetterFacts | None = facts_of(system, partition, stored)
                if facts is not None:
                    found.add(facts.message_id)
    return found


async def check(
    outcome: Outcome,
    system: System,
    ledgers: Ledgers,
    *,
    killed: Sequence[int] = (),
    faults: Sequence[Fault] = (),
    may_refuse: Collection[str] = (),
) -> Audited:
    """Fill an outcome from what was written down.

    Args:
        outcome: Gets the counts; its violations add to what is there.
        system: To read audit and dead letters of.
        ledgers: The outside ledgers.
        killed: Processes of handlers that were killed: what they handled may be handled again.
        faults: For the recovery times.
        may_refuse: Codes of refusals that senders are meant to see.
    """
    errors = [
        *ledgers.errors,
        *(line for line in ledgers.refused if line.rsplit(" ", 1)[1] not in may_refuse),
    ]
    audited = await Audited.read(system)
    dead = await dead_letters(system)
    acknowledged = {ack.message_id for ack in ledgers.acks}
    handled = {item.message_id for item in ledgers.handled}
    # Messages that handlers passed on are not in the ledgers of senders; the audit knows them.
    lost = acknowledged - handled - dead
    unaudited = handled - set(audited.allowed)
    undelivered = (set(audited.allowed) - handled - dead) | {
        message_id for message_id, times in audited.allowed.items() if times > 1
    }
    again, duplicated = _repeated(ledgers.handled, frozenset(killed))

    outcome.acknowledged += len(acknowledged)
    outcome.lost += len(lost)
    outcome.duplicated += len(duplicated)
    outcome.unaudited += len(unaudited)
    outcome.undelivered += len(undelivered - lost)
    outcome.redelivered += again
    outcome.errors += len(errors)
    outcome.broken += len(audited.broken)
    outcome.recovery_ms += recovery_ms(ledgers.acks, faults, system.store.partitions)
    outcome.figures |= {
        "dead_letters": len(dead),
        "unknown": len(ledgers.unknown),
        "refused": len(ledgers.refused),
        "records": audited.records,
    }
    outcome.offending += [*audited.broken[:SHOWN], *errors[:SHOWN]]
    for word, ids in (
        ("lost", lost), ("duplicated", duplicated), ("unaudited", unaudited), ("undelivered", undelivered - lost),
    ):  # fmt: skip
        for message_id in sorted(ids)[:SHOWN]:
            outcome.offending.append(await _story(word, message_id, system, ledgers))
    return audited


def _repeated(handled: Sequence[Handling], killed: frozenset[int]) -> tuple[int, set[str]]:
    """How many handlings were repetitions, and the messages for which no death explains them."""
    seen: dict[tuple[str, int], list[int]] = {}
    again = 0
    unexplained: set[str] = set()
    for item in sorted(handled, key=lambda item: item.time):
        before = seen.setdefault((item.message_id, item.attempt), [])
        if before:
            again += 1
            if before[-1] not in killed:
                unexplained.add(item.message_id)
        before.append(item.pid)
    return again, unexplained


def recovery_ms(acks: Sequence[Ack], faults: Sequence[Fault], partitions: int) -> list[float]:
    """For each fault and partition that it hit, how long until a message that was sent after it was acknowledged.

    Where the next fault hit the partition before that, the time counts from the next one.
    """
    by_partition: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for ack in acks:
        by_partition[partition_of(ack.target, partitions)].append((ack.acknowledged, ack.sent))
    found = []
    for partition, times in by_partition.items():
        times.sort()
        hits = [fault.time for fault in faults if partition in fault.partitions]
        for at, hit in enumerate(hits):
            after = bisect_left(times, (hit, 0))
            first = next((ended for ended, sent in times[after:] if sent > hit), None)
            is_last = at + 1 == len(hits)
            if first is not None and (is_last or first < hits[at + 1]):
                found.append((first - hit) / 1e6)
    return found


async def _story(word: str, message_id: str, system: System, ledgers: Ledgers) -> str:
    lines = [f"{word}: {message_id}"]
    lines += [f"  {item}" for item in (*ledgers.acks, *ledgers.handled) if item.message_id == message_id]
    try:
        lines += [
            f"  partition {item.partition}: {item.text.decode()}"
            for item in await audit.get(system, message_id)
        ]
    except Exception as error:  # noqa: BLE001 - told as it is
        lines.append(f"  {error}")
    return "\n".join(lines)
