"""Moves agents from one partition to another while nobody owns either.

Everything of an agent is set aside at one moment, and marks stay in its place that let every command of a running
agent fail until it finds the new place. What is set aside counts until it is written at the new place, so each step
can be done again after a crash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mas_core.base.failpoints import failpoint
from mas_core.base.ids import AGENT_ID, partition_of
from mas_core.errors import InternalError
from mas_core.model.priority import LANES
from mas_core.store.commits import KEPT_CHANGES
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import LAYOUT_END, Keys, Layout
from mas_core.store.stored import hash_of
from mas_core.store.wire import Argument

MARK_STAYS_MS = 24 * 3_600_000
"""How long an agent that slept through a change is told that it was moved."""
CHUNK = 500
_ASIDE = "moving:"
_OF_AGENT = ("agent", "state", "work", "handled")
_CLOSED = "closed"


@dataclass(slots=True)
class Found:
    """The keys of one agent, or of one subject of limits, in one partition."""

    keys: list[str] = field(default_factory=list)
    """Without the prefix of the partition."""
    aside: list[str] = field(default_factory=list)
    """Those that were set aside, by the names that they had."""


class Moves:
    """Changes the layout of one system, step by step."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def begin(self, layout: Layout, partitions: int) -> None:
        """Say that the layout is being changed: gateways let go, and operators write nothing."""
        await self._connection.call(
            "HSET", self._keys.layout_record(),
            "number", layout.number, "partitions", layout.partitions, "width", layout.width, "next", partitions,
        )  # fmt: skip

    async def note_moving(self) -> None:
        """Say that from here on something may have been moved."""
        await self._connection.call("HSET", self._keys.layout_record(), "is_moving", 1)

    async def is_moving(self) -> bool:
        """Whether something may have been moved."""
        return bool(await self._connection.call("HGET", self._keys.layout_record(), "is_moving") == b"1")

    async def registered(self, partition: int) -> list[str]:
        """Agents that are registered in a partition."""
        members = await self._connection.call("SMEMBERS", self._keys.agents(partition))
        names = (_text(member) for member in members)
        return sorted(name for name in names if AGENT_ID.fullmatch(name))

    async def abandon(self, layout: Layout) -> None:
        """Go on as before; only as long as nothing was moved."""
        await self.finish(layout)

    async def close(self, width: int) -> None:
        """Take all partitions away from their owners."""
        pipeline = Pipeline()
        for partition in range(width):
            self._connection.add_script(pipeline, "close_partition", [self._meta(partition)], [_CLOSED])
        await self._connection.run(pipeline)

    async def finish(self, layout: Layout) -> None:
        """Let gateways take the partitions of this layout."""
        pipeline = Pipeline()
        for partition in range(layout.width):
            pipeline.add("HSET", self._meta(partition), "layout", layout.name)
        await self._connection.run(pipeline)
        failpoint("partitions.opened")
        await self._connection.call(
            "HSET", self._keys.layout_record(),
            "number", layout.number, "partitions", layout.partitions, "width", layout.width, "next", 0,
            "is_moving", 0,
        )  # fmt: skip

    async def names(self, partition: int) -> list[str]:
        """All keys of a partition, without its prefix."""
        prefix = self._keys.prefix(partition)
        found: dict[str, None] = {}
        for reply in (await self._connection.run_everywhere("KEYS", f"{prefix}*")).values():
            if isinstance(reply, Exception):
                raise InternalError(f"the server does not list its keys: {reply}")
            found.update((name.decode(errors="replace").removeprefix(prefix), None) for name in reply)
        return list(found)

    async def drop_old_marks(self, partition: int, names: Sequence[str], mark: str) -> list[str]:
        """Drop marks of earlier changes; the names of what is no mark."""
        prefix, others = self._keys.prefix(partition), []
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            pipeline = Pipeline()
            for name in chunk:
                pipeline.add("TYPE", prefix + name)
            kinds = await self._connection.run(pipeline)
            marks = [name for name, kind in zip(chunk, kinds, strict=True) if _text(kind) == "string"]
            others += [name for name, kind in zip(chunk, kinds, strict=True) if _text(kind) != "string"]
            for name in marks:
                if f":{LAYOUT_END}" in name:
                    # It says which layout has ended, so it is as true after the next change.
                    continue
                if _text(await self._connection.call("GET", prefix + name)) != mark:
                    await self._connection.call("DEL", prefix + name)
        return others

    async def move_agent(
        self, subject: str, found: Found, source: int, target: int, mark: str, *, is_agent: bool
    ) -> None:
        """Move all keys of an agent, or the counts of another subject of limits."""
        before, after = self._keys.prefix(source), self._keys.prefix(target)
        marked = [
            *(f"{kind}:{subject}" for kind in _OF_AGENT),
            *(f"inbox:{subject}:{lane}" for lane in LANES),
        ]
        names = dict.fromkeys([*(marked if is_agent else ()), *found.keys])
        keys: list[str] = []
        flags: list[Argument] = []
        for name in names:
            keys += (before + name, f"{before}{_ASIDE}{name}")
            flags.append(int(is_agent and not name.startswith("limit:")))
        await self._connection.script("move_out", keys, [mark, MARK_STAYS_MS, *flags])
        for name in dict.fromkeys([*names, *found.aside]):
            await self._bring_in(f"{before}{_ASIDE}{name}", after + name)
        if is_agent:
            pipeline = Pipeline()
            was_registered = await self._connection.call("SISMEMBER", self._keys.agents(source), subject)
            if was_registered:
                pipeline.add("SADD", after + "agents", subject)
                self._connection.add_script(
                    pipeline, "note_change", [after + "agents:changed"], [subject, KEPT_CHANGES]
                )
                pipeline.add("SREM", self._keys.agents(source), subject)
                await self._connection.run_safely(pipeline)

    async def note_end(self, layout: Layout) -> None:
        """Tell every agent that a layout has ended, where its instances read: also one that moves nowhere."""
        for partition in range(layout.width):
            agent_ids = await self.registered(partition)
            for start in range(0, len(agent_ids), CHUNK):
                pipeline = Pipeline()
                for agent_id in agent_ids[start : start + CHUNK]:
                    name = self._keys.layout_end(belongs(agent_id, layout), agent_id, layout.number)
                    pipeline.add("SET", name, 1, "PX", MARK_STAYS_MS)
                await self._connection.run(pipeline)

    async def move_key(self, name: str, source: int, target: int) -> None:
        """Move a key that no running agent touches."""
        await self._bring_in(self._keys.prefix(source) + name, self._keys.prefix(target) + name)

    async def _bring_in(self, source: str, target: str) -> None:
        pipeline = Pipeline()
        pipeline.add("DUMP", source)
        pipeline.add("PTTL", source)
        text, expiry = await self._connection.run(pipeline)
        if text is None:
            return
        await self._write("RESTORE", target, max(0, int(expiry)), text, "REPLACE")
        await self._connection.call("DEL", source)

    async def _write(self, *command: Argument) -> None:
        """Write something that is taken away elsewhere next; it has to survive what the profile survives."""
        pipeline = Pipeline()
        pipeline.add(*command)
        await self._connection.run_safely(pipeline)

    async def move_fields(self, source: str, target: str, fields: Sequence[str]) -> None:
        """Move fields of a hash."""
        for start in range(0, len(fields), CHUNK):
            chunk = fields[start : start + CHUNK]
            values = await self._connection.call("HMGET", source, *chunk)
            pairs: list[Argument] = []
            for name, value in zip(chunk, values, strict=True):
                if value is not None:
                    pairs += (name, value)
            if pairs:
                await self._write("HSET", target, *pairs)
            await self._connection.call("HDEL", source, *chunk)

    async def share_fields(self, target: str, fields: Mapping[str, bytes]) -> None:
        """Write fields into a hash that has not got them."""
        pipeline = Pipeline()
        for name, value in fields.items():
            pipeline.add("HSETNX", target, name, value)
        await self._connection.run_safely(pipeline)

    async def later(self, partition: int) -> dict[str, str]:
        """What is due later in a partition: name and when."""
        flat = await self._connection.call("ZRANGE", self._keys.later(partition), 0, -1, "WITHSCORES")
        return {_text(name): _text(due) for name, due in zip(flat[::2], flat[1::2], strict=True)}

    async def body(self, partition: int, name: str) -> bytes:
        """The sealed body of what is due later; empty when there is none."""
        found = await self._connection.call("HGET", self._keys.later_bodies(partition), name)
        return bytes(found or b"")

    async def move_later(
        self, source: int, target: int, dues: Mapping[str, str], renamed: Mapping[str, tuple[str, bytes]]
    ) -> None:
        """Move what is due later; `renamed` gives new names and bodies where they change."""
        for name, due in dues.items():
            new_name, body = renamed.get(name) or (name, await self.body(source, name))
            if body:
                await self._write("HSET", self._keys.prefix(target) + "later:bodies", new_name, body)
            await self._write("ZADD", self._keys.prefix(target) + "later", due, new_name)
            await self._connection.call("ZREM", self._keys.later(source), name)
            await self._connection.call("HDEL", self._keys.later_bodies(source), name)

    async def fields(self, key: str) -> dict[str, bytes]:
        """A whole hash."""
        return hash_of(await self._connection.call("HGETALL", key))

    async def share_seen(self, names: Iterable[str], source: int, targets: Sequence[int]) -> None:
        """Let other partitions know the decisions about ids that can come again."""
        for name in names:
            key = self._keys.prefix(source) + name
            expiry = int(await self._connection.call("PTTL", key))
            found = await self.fields(key)
            if not found or expiry <= 0:
                continue
            for target in targets:
                pipeline = Pipeline()
                for field_name, value in found.items():
                    pipeline.add("HSETNX", self._keys.prefix(target) + name, field_name, value)
                pipeline.add("PEXPIRE", self._keys.prefix(target) + name, expiry)
                await self._connection.run(pipeline)

    async def letters(self, partition: int) -> list[tuple[str, dict[bytes, bytes], int]]:
        """Dead letters of a partition: place, fields and until when they are dropped, 0 for not."""
        found = []
        start = "-"
        while True:
            page = await self._connection.call(
                "XRANGE", self._keys.dead(partition), start, "+", "COUNT", CHUNK
            )
            for entry, flat in page:
                fields = dict(zip(flat[::2], flat[1::2], strict=False)) if isinstance(flat, list) else flat
                dropped = await self._connection.call("ZSCORE", self._keys.dropped(partition), entry)
                found.append((_text(entry), fields, int(float(dropped or 0))))
            if len(page) < CHUNK:
                return found
            start = f"({_text(page[-1][0])}"

    async def replace_letters(
        self, partition: int, letters: Sequence[tuple[str, dict[bytes, bytes], int]]
    ) -> None:
        """Write the dead letters of a partition anew, in the order of their places."""
        prefix = self._keys.prefix(partition)
        aside = f"{prefix}{_ASIDE}dead"
        await self._connection.call("DEL", aside)
        for entry, fields, dropped in letters:
            flat = [part for item in fields.items() for part in item]
            await self._connection.call("XADD", aside, entry, *flat)
            if dropped:
                await self._connection.call("ZADD", prefix + "dead:dropped", dropped, entry)
        if letters:
            await self._write("RENAME", aside, prefix + "dead")

    async def remove_letters(self, partition: int, entries: Sequence[str]) -> None:
        """Take out dead letters that are somewhere else now."""
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            await self._connection.call("XDEL", self._keys.dead(partition), *chunk)
            await self._connection.call("ZREM", self._keys.dropped(partition), *chunk)

    def _meta(self, partition: int) -> str:
        return self._keys.prefix(partition) + "meta"


def agents_in(names: Iterable[str]) -> tuple[dict[str, Found], dict[str, Found]]:
    """The keys of each agent, and of each subject of limits that is no agent, among those of a partition."""
    agents: dict[str, Found] = defaultdict(Found)
    subjects: dict[str, Found] = defaultdict(Found)
    for name in names:
        is_aside = name.startswith(_ASIDE)
        plain = name.removeprefix(_ASIDE)
        kind, _, rest = plain.partition(":")
        if kind in _OF_AGENT:
            subject = rest
        elif kind in ("inbox", "replies"):
            subject = rest.partition(":")[0]
        elif kind == "limit":
            subject = rest.rpartition(":")[0]
        else:
            continue
        found = (agents if AGENT_ID.fullmatch(subject) else subjects)[subject]
        (found.aside if is_aside else found.keys).append(plain)
    return agents, subjects


def next_entry(entry: str, taken: set[str]) -> str:
    """`entry`, or the first place behind it that is free."""
    milliseconds, _, number = entry.partition("-")
    at = int(number)
    while f"{milliseconds}-{at}" in taken:
        at += 1
    return f"{milliseconds}-{at}"


def belongs(subject: str, layout: Layout) -> int:
    """The partition of an agent in a layout."""
    return partition_of(subject, layout.partitions)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
