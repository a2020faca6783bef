"""What happens to a system, as events: agents that come, go, fall ill and recover; circuits that open and close.

From the audit comes what was recorded, each record once, also after a restart. From looks at the health of the
system comes what moves between well and ill. Both only read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.base.logs import get_logger
from mas_core.errors import EventInvalid, MasError
from mas_core.events.consumers import load_snapshot, save_snapshot
from mas_core.events.store import EventStore
from mas_core.model.audit_record import AuditRecord
from mas_core.model.event import Event, EventType
from mas_core.ops.health.check import HealthWatch
from mas_core.ops.health.observation import Observation
from mas_core.ops.health.report import HealthItem, HealthReport
from mas_core.ops.system import System
from mas_core.ops.watch import newest

log = get_logger(__name__)

SOURCE: Final = "mas"
LOOK_S: Final = 2.0
_BLOCK_MS: Final = 500
_RETRY_S: Final = 2.0
_SAVE_AFTER: Final = 1_000
"""Records without an event after which the place is kept all the same."""
_ORDER: Final = {"ok": 0, "warn": 1, "red": 2}
_KINDS: Final[Mapping[str, EventType]] = {
    "breaker.open": EventType.BREAKER_OPENED,
    "breaker.close": EventType.BREAKER_CLOSED,
    "agent.attach": EventType.AGENT_STARTED,
    "agent.detach": EventType.AGENT_STOPPED,
    "delivery.dead": EventType.MESSAGE_DEAD,
}
_CHANGES: Final[Mapping[str, tuple[EventType, EventType]]] = {
    "agent": (EventType.AGENT_UNHEALTHY, EventType.AGENT_RECOVERED),
    "gateway": (EventType.GATEWAY_UNHEALTHY, EventType.GATEWAY_RECOVERED),
}
_OTHERS: Final = (EventType.SYSTEM_UNHEALTHY, EventType.SYSTEM_RECOVERED)


class _Memory(msgspec.Struct):
    """What a watcher knew last, kept in the store beside the events that came of it."""

    after: dict[int, int] = {}
    """Partition -> the last record that was looked at."""
    ill: dict[str, str] = {}
    """What was not well, and how."""
    running: list[str] = []
    """Agents of which an instance ran."""


class SystemEvents:
    """Keeps what happens to a system as events.

    Args:
        system: What to watch.
        store: Where events go.
        look_s: Seconds between looks at the health.
    """

    def __init__(self, system: System, store: EventStore, *, look_s: float = LOOK_S) -> None:
        self._system = system
        self._store = store
        self._look_s = look_s
        self._watch = HealthWatch(system)

    async def run(self) -> None:
        """Watch until cancelled; what fails is tried again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._again_and_again(self._follow_audit))
            tasks.create_task(self._again_and_again(self._follow_health))

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except MasError as error:
                log.warning("events.unwatched", code=error.code, reason=error.message)
                await asyncio.sleep(_RETRY_S)

    async def _follow_audit(self) -> None:
        memory = await self._recall("mas.audit")
        # What is there before the very first look is the past; of partitions that came since, nothing is.
        after = {
            partition: memory.after.get(partition, 0 if memory.after else last)
            for partition, last in (await newest(self._system)).items()
        }
        await self._remember("mas.audit", _Memory(after=after))
        unsaved = 0
        while True:
            found: list[Event] = []
            for partition, block in await self._system.store.records.new_audit_blocks(after, _BLOCK_MS):
                texts = block.records()
                found += events_of_records(partition, texts)
                after[partition] = block.last_seq
                unsaved += len(texts)
            if found or unsaved > _SAVE_AFTER:
                # Ids of these events follow from their records, so a second time changes nothing.
                await self._store.append_many(found)
                await self._remember("mas.audit", _Memory(after=after))
                unsaved = 0

    async def _follow_health(self) -> None:
        memory = await self._recall("mas.health")
        while True:
            report, seen = await self._watch.look()
            events, now = changes(memory, report, seen)
            if events:
                await self._store.append_many(events)
            if now != memory:
                await self._remember("mas.health", now)
                memory = now
            await asyncio.sleep(self._look_s)

    async def _recall(self, name: str) -> _Memory:
        _, text = await load_snapshot(self._store, name)
        try:
            return msgspec.json.decode(text, type=_Memory)
        except msgspec.DecodeError:
            return _Memory()

    async def _remember(self, name: str, memory: _Memory) -> None:
        await save_snapshot(self._store, name, await self._store.head(), msgspec.json.encode(memory))


def events_of_records(partition: int, texts: Iterable[bytes]) -> list[Event]:
    """The events that audit records tell of."""
    found = []
    for text in texts:
        try:
            record = decode_record(text)
        except msgspec.DecodeError:
            continue
        kind = _KINDS.get(record.kind)
        if kind is None or (record.kind == "agent.attach" and record.decision != "allowed"):
            continue
        try:
            found.append(
                Event(kind, SOURCE, _facts(record), "", f"audit-{partition}-{record.seq}", record.time)
            )
        except EventInvalid:
            continue
    return found


def changes(before: _Memory, report: HealthReport, seen: Observation | None) -> tuple[list[Event], _Memory]:
    """What has changed since, as events, and what to compare with next."""
    worst: dict[str, HealthItem] = {}
    for item in report.items:
        known = worst.get(item.name)
        if item.status != "ok" and (known is None or _ORDER[item.status] > _ORDER[known.status]):
            worst[item.name] = item
    found = []
    for name, item in worst.items():
        if before.ill.get(name) != item.status:
            told = {**_subject(name), "status": item.status, "reason": item.reason, "fix": item.fix}
            found.append(Event(_change(name)[0], SOURCE, told, time=report.now))
    # While the server does not answer nobody can know that anything has recovered.
    ill: dict[str, str] = {name: item.status for name, item in worst.items()}
    if seen is None:
        return found, _Memory(ill={**before.ill, **ill}, running=before.running)
    found += [
        Event(_change(name)[1], SOURCE, _subject(name), time=report.now)
        for name in before.ill
        if name not in ill
    ]
    running = sorted(work.progress.agent_id for work in seen.agents if work.running)
    found += [
        Event(EventType.AGENT_GONE, SOURCE, {"agent": agent_id}, time=report.now)
        for agent_id in before.running
        if agent_id not in running
    ]
    return found, _Memory(ill=ill, running=running)


def _facts(record: AuditRecord) -> dict[str, object]:
    if record.kind.startswith("agent."):
        facts = {"agent": record.sender, "instance": record.instance}
    else:
        facts = {
            "sender": record.sender,
            "target": record.target,
            "type": record.type,
            "message_id": record.message_id,
        }
    return {name: value for name, value in {**facts, "reason": record.reason}.items() if value}


def _change(name: str) -> tuple[EventType, EventType]:
    kind = name.partition(" ")[0]
    return _CHANGES.get({"gateways": "gateway", "partition": "gateway"}.get(kind, kind), _OTHERS)


def _subject(name: str) -> dict[str, object]:
    kind, _, which = name.partition(" ")
    return {"agent": which} if kind == "agent" and which else {"what": name}
