"""What a backup reads of a system in parts of bounded size, and how it is put back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mas_core.base.ids import AGENT_ID, partition_of
from mas_core.errors import Conflict
from mas_core.model.approval import DUE_PREFIX, decision_field, item_field
from mas_core.model.priority import LANES
from mas_core.model.scheduled import SCHEDULE_PREFIX, cancel_field
from mas_core.model.scheduled import item_field as scheduled_field
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.records import dict_of
from mas_core.store.stored import hash_of
from mas_core.store.wire import Argument

PART = 16
"""Messages that are read or written at once: each can have a megabyte."""
STATES = 16
AGENTS = 500
SCANNED = 1000


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands."""

    seq: int
    """Number of its last audit record."""
    head: str
    """SHA-256 of that, hex."""
    epoch: int


@dataclass(frozen=True, slots=True)
class BackedLetter:
    """A dead letter with everything that is stored of it."""

    entry: str
    fields: dict[str, bytes]
    dropped_until: int
    """Unix milliseconds; 0 when it is not dropped."""


@dataclass(frozen=True, slots=True)
class BackedItem:
    """Something that is kept for later."""

    name: str
    due: float
    """Unix milliseconds."""
    body: bytes
    facts: bytes = b""
    """Of a held or a scheduled message."""
    decision: bytes = b""
    """What a person decided about it."""


@dataclass(frozen=True, slots=True)
class LetterBack:
    """A dead letter on its way back; `end` is what ends it for good when it is dropped: name and sealed text."""

    letter: BackedLetter
    end: tuple[str, bytes] = ("", b"")


@dataclass(frozen=True, slots=True)
class RestoreMark:
    """What a restore that has begun left in a partition."""

    backup: str
    dead: int
    """How many dead letters of the backup are done."""
    later: int


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What a store holds of a system."""

    agents: int
    policy: int
    """Its revision; 0 when there is none."""
    states: int
    dead_letters: int
    later: int
    circuits: int
    records: int
    """Audit records that were ever written."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a restore could replace."""
        return not (
            self.agents or self.policy or self.states or self.dead_letters or self.later or self.circuits
        )


class Backups:
    """Reads and writes what backups hold."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def positions(self) -> list[Position]:
        """Where each partition stands."""
        pipeline = Pipeline()
        for partition in range(self._keys.partitions):
            pipeline.add("HMGET", self._keys.meta(partition), "audit_seq", "audit_head", "epoch")
        return [
            Position(int(seq or 0), (head or b"").decode(errors="replace"), int(epoch or 0))
            for seq, head, epoch in await self._connection.run(pipeline)
        ]

    async def registrations(self, partition: int) -> AsyncIterator[tuple[str, bytes, bytes]]:
        """Id, record and MAC of every agent of a partition."""
        members = await self._connection.call("SMEMBERS", self._keys.agents(partition))
        names = sorted(name for name in (item.decode(errors="replace") for item in members))
        for first in range(0, len(names), AGENTS):
            some = [name for name in names[first : first + AGENTS] if AGENT_ID.fullmatch(name)]
            pipeline = Pipeline()
            for name in some:
                pipeline.add("HMGET", self._keys.agent(partition, name), "record", "mac")
            for name, (record, mac) in zip(some, await self._connection.run(pipeline), strict=True):
                if record is not None:
                    yield name, record, mac or b""

    async def agents_with_state(self) -> list[str]:
        """Ids of all agents that have a state, registered or not."""
        found: set[str] = set()
        async for keys in self._connection.scan(self._keys.state_pattern(), SCANNED):
            found.update(name for key in keys if (name := self._agent_of_state(key)))
        return sorted(found)

    def _agent_of_state(self, key: bytes) -> str:
        name = key.decode(errors="replace").rpartition(":")[2]
        if not AGENT_ID.fullmatch(name):
            return ""
        partition = partition_of(name, self._keys.partitions)
        return name if key.decode(errors="replace") == self._keys.state(partition, name) else ""

    async def states(self, agent_ids: Sequence[str]) -> AsyncIterator[tuple[str, int, int, bytes]]:
        """Id, revision, revision set by an operator, and data of those of these agents that have a state."""
        for first in range(0, len(agent_ids), STATES):
            some = agent_ids[first : first + STATES]
            pipeline = Pipeline()
            for name in some:
                key = self._keys.state(partition_of(name, self._keys.partitions), name)
                pipeline.add("HMGET", key, "revision", "ordered", "data")
            for name, (revision, ordered, data) in zip(
                some, await self._connection.run(pipeline), strict=True
            ):
                if data is not None:
                    yield name, _number(revision), _number(ordered), data

    async def later(self, partition: int) -> AsyncIterator[list[BackedItem]]:
        """What is kept for later, some at a time; what is there all the while comes, some of it perhaps twice."""
        keys = [
            self._keys.later_bodies(partition), self._keys.later(partition),
            self._keys.held(partition), self._keys.scheduled(partition),
        ]  # fmt: skip
        cursor: bytes = b"0"
        while True:
            cursor, found = await self._connection.script(
                "read_later", keys, [cursor, PART, DUE_PREFIX, SCHEDULE_PREFIX]
            )
            yield [
                BackedItem(name.decode(errors="replace"), float(due), body, facts, decision)
                for name, body, due, facts, decision in found
                if due
            ]
            if int(cursor) == 0:
                return

    async def letters(self, partition: int) -> AsyncIterator[list[BackedLetter]]:
        """The dead letters of a partition, the oldest first, some at a time."""
        after = "-"
        while True:
            found = await self._connection.call(
                "XRANGE", self._keys.dead(partition), after, "+", "COUNT", PART
            )
            pipeline = Pipeline()
            for entry, _ in found:
                pipeline.add("ZSCORE", self._keys.dropped(partition), entry)
            dropped = await self._connection.run(pipeline) if found else []
            if found:
                yield [
                    BackedLetter(
                        entry.decode(),
                        {name.decode(errors="replace"): value for name, value in dict_of(fields).items()},
                        int(float(until or 0)),
                    )
                    for (entry, fields), until in zip(found, dropped, strict=True)
                ]
            if len(found) < PART:
                return
            after = f"({found[-1][0].decode()}"

    async def circuits(self, partition: int) -> dict[str, bytes]:
        """Records of circuits that are open, and what operators want of them."""
        return hash_of(await self._connection.call("HGETALL", self._keys.breakers(partition)))

    async def policy_versions(self) -> AsyncIterator[tuple[int, bytes, bytes]]:
        """Revision, document and MAC of all versions of the policy that are kept, the oldest first."""
        after = "-"
        while True:
            found = await self._connection.call(
                "XRANGE", self._keys.policy_history(), after, "+", "COUNT", PART
            )
            for _, fields in found:
                values = dict_of(fields)
                yield (
                    _number(values.get(b"revision")),
                    values.get(b"document", b""),
                    values.get(b"mac", b""),
                )
            if len(found) < PART:
                return
            after = f"({found[-1][0].decode()}"

    async def undelivered(self) -> tuple[int, int]:
        """Frames that wait for a gateway, and messages in inboxes that no agent has settled."""
        pipeline = Pipeline()
        for partition in range(self._keys.partitions):
            for lane in LANES:
                pipeline.add("XLEN", self._keys.ingress(partition, lane))
        frames = sum(int(count) for count in await self._connection.run(pipeline))
        unsettled = 0
        for partition in range(self._keys.partitions):
            members = await self._connection.call("SMEMBERS", self._keys.agents(partition))
            names = [name for item in members if AGENT_ID.fullmatch(name := item.decode(errors="replace"))]
            for first in range(0, len(names), AGENTS):
                pipeline = Pipeline()
                for name in names[first : first + AGENTS]:
                    fields = (f"unsettled:{lane}" for lane in LANES)
                    pipeline.add("HMGET", self._keys.work(partition, name), *fields)
                for counts in await self._connection.run(pipeline):
                    unsettled += sum(max(0, _number(count)) for count in counts)
        return frames, unsettled

    async def occupancy(self) -> Occupancy:
        """What there is of the system."""
        pipeline = Pipeline()
        keys = self._keys
        for partition in range(keys.partitions):
            pipeline.add("SCARD", keys.agents(partition))
            pipeline.add("XLEN", keys.dead(partition))
            pipeline.add("HLEN", keys.later_bodies(partition))
            pipeline.add("HLEN", keys.breakers(partition))
            pipeline.add("HGET", keys.meta(partition), "audit_seq")
        pipeline.add("HGET", keys.policy(), "revision")
        *counts, revision = await self._connection.run(pipeline)
        agents, dead, later, circuits, records = (
            sum(_number(count) for count in counts[kind::5]) for kind in range(5)
        )
        states = len(await self.agents_with_state())
        return Occupancy(agents, _number(revision), states, dead, later, circuits, records)

    async def marks(self) -> list[RestoreMark | None]:
        """For each partition what a restore that is not done left there."""
        pipeline = Pipeline()
        for partition in range(self._keys.partitions):
            pipeline.add("HMGET", self._keys.restore_mark(partition), "backup", "dead", "later")
        return [
            RestoreMark(backup.decode(errors="replace"), _number(dead), _number(later)) if backup else None
            for backup, dead, later in await self._connection.run(pipeline)
        ]

    async def begin_restore(self, backup: str, by: str, now: int) -> None:
        """Mark every partition as being restored; how far an earlier restore came is forgotten.

        The mark of partition 0 says that a restore goes on. It is the last to come and the first to go, so those
        of the others count only beside it.
        """
        for partition in reversed(range(self._keys.partitions)):
            key = self._keys.restore_mark(partition)
            pipeline = Pipeline()
            pipeline.add("DEL", key)
            pipeline.add("HSET", key, "backup", backup, "by", by, "at", now)
            await self._connection.run(pipeline)

    async def end_restore(self) -> None:
        """Take the marks away."""
        for partition in range(self._keys.partitions):
            await self._connection.call("DEL", self._keys.restore_mark(partition))

    async def set_position(
        self, partition: int, *, epoch: int, seq: int, head: str, frames_since: int
    ) -> bool:
        """Say where the audit goes on, if it has not begun, and from when on frames count.

        Returns:
            Whether the audit goes on there; False when it has begun.

        Raises:
            Conflict: The store belongs to a system with another number of partitions.
        """
        keys = [self._keys.meta(partition), self._keys.audit(partition)]
        word, found = await self._connection.script(
            "restore_position", keys, [self._keys.layout.name, epoch, seq, head, frames_since]
        )
        if word == b"layout":
            raise Conflict(
                f"the server holds a layout of {found.decode()} partitions, not {self._keys.layout.name}",
                hint="set the same `partitions` in mas.yaml as the system was made with",
            )
        return bool(word == b"ok")

    async def put_policy_versions(self, versions: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Add versions to the history of the policy, the oldest first."""
        pipeline = Pipeline()
        for revision, document, mac in versions:
            pipeline.add(
                "XADD",
                self._keys.policy_history(),
                "*",
                "revision",
                revision,
                "document",
                document,
                "mac",
                mac,
            )
        await self._write(pipeline)

    async def put_states(self, states: Sequence[tuple[str, int, int, bytes]]) -> int:
        """Put states back, given as `states` gives them; how many were not there like this."""
        pipeline = Pipeline()
        for name, revision, ordered, data in states:
            key = self._keys.state(partition_of(name, self._keys.partitions), name)
            self._connection.add_script(pipeline, "restore_state", [key], [revision, data, ordered])
        return sum(int(reply) for reply in await self._write(pipeline))

    async def put_circuits(self, partition: int, circuits: Mapping[str, bytes]) -> None:
        """Put records of circuits back; what is there stays as it is."""
        pipeline = Pipeline()
        for field, record in circuits.items():
            pipeline.add("HSETNX", self._keys.breakers(partition), field, record)
        await self._write(pipeline)

    async def put_letters(self, partition: int, done: int, after: int, letters: Sequence[LetterBack]) -> int:
        """Put dead letters back: those of the backup from number `done` up to `after`; how many are new."""
        keys = [
            self._keys.restore_mark(partition), self._keys.dead(partition), self._keys.dropped(partition),
            self._keys.later(partition), self._keys.later_bodies(partition),
        ]  # fmt: skip
        arguments: list[Argument] = [done, after]
        for back in letters:
            letter = back.letter
            arguments += (
                letter.entry, letter.fields.get("message_id", b""), letter.dropped_until or "",
                *back.end, len(letter.fields),
            )  # fmt: skip
            arguments += [part for item in letter.fields.items() for part in item]
        added, _ = await self._connection.script("restore_letters", keys, arguments)
        return int(added)

    async def put_later(self, partition: int, done: int, after: int, items: Sequence[BackedItem]) -> int:
        """Put messages for later back: those of the backup from number `done` up to `after`; how many are new."""
        keys = [
            self._keys.restore_mark(partition), self._keys.later(partition),
            self._keys.later_bodies(partition), self._keys.held(partition), self._keys.scheduled(partition),
        ]  # fmt: skip
        arguments: list[Argument] = [done, after]
        for item in items:
            arguments += (item.name, repr(item.due), item.body)
            if item.name.startswith(SCHEDULE_PREFIX):
                scheduled = item.name.removeprefix(SCHEDULE_PREFIX)
                arguments += (
                    5,
                    scheduled_field(scheduled),
                    item.facts,
                    cancel_field(scheduled),
                    item.decision,
                )
            else:
                approval = item.name.removeprefix(DUE_PREFIX)
                arguments += (4, item_field(approval), item.facts, decision_field(approval), item.decision)
        added, _ = await self._connection.script("restore_later", keys, arguments)
        return int(added)

    async def _write(self, pipeline: Pipeline) -> list[Any]:
        return await self._connection.run(pipeline) if pipeline.commands else []


def _number(value: bytes | None) -> int:
    try:
        return int(value or 0)
    except ValueError:
        return 0
