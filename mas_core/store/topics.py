"""What subscribers and operators do with the logs of topics: read, keep a place, acknowledge."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mas_core.base.ids import partition_of
from mas_core.base.name_patterns import matcher
from mas_core.errors import InternalError, LockHeld
from mas_core.model.frame import Frame
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import frame_of, hash_of

READ_FRAMES: Final = 16
"""Frames of each log that one reading brings."""
RELEASED: Final = "released"
"""The consumer that has what others have left behind."""
DURABLE: Final = "durable:"
"""Before agent and pattern: what is stored of a place that an agent keeps in logs."""
COUNTED_ENTRIES: Final = 2_000
"""Entries that are looked at to tell how fast messages come."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a log; nothing of it is proven."""

    topic: str
    entry: str
    frame: Frame
    is_gone: bool = False
    """Whether it was trimmed after it was handed to this group."""


@dataclass(frozen=True, slots=True)
class Consumer:
    """One instance of those that read a log together."""

    name: str
    idle_ms: int
    """For how long it has asked for nothing."""
    in_hand: int
    """Entries that it was given and has not acknowledged."""


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a log holds."""

    entries: int
    first: str
    last: str
    recent: int
    """Messages since the time that was asked for."""
    is_whole: bool
    """Whether all of those were counted."""


def partition_of_topic(name: str, partitions: int) -> int:
    """Where a topic lives."""
    return partition_of(f"topic:{name}", partitions)


class TopicLogs:
    """The logs of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    @property
    def partitions(self) -> int:
        """Number of partitions, as far as it is known here."""
        return self._keys.partitions

    @property
    def layout(self) -> int:
        """Number of the layout that is in force, as far as it is known here."""
        return self._keys.layout.number

    async def read(self, partition: int, after: Mapping[str, str], block_ms: int) -> list[LogEntry]:
        """Entries of logs of a partition.

        Args:
            partition: Where the logs lie.
            after: Topic -> the last entry that is known.
            block_ms: How long to wait when there is nothing.
        """
        names = {self._keys.topic(partition, name).encode(): name for name in after}
        reply = await self._connection.wait(
            "XREAD", "COUNT", READ_FRAMES, "BLOCK", block_ms, "STREAMS", *names, *after.values()
        )
        return _entries(names, reply)

    async def read_group(
        self, partition: int, topics: Sequence[str], group: str, consumer: str, block_ms: int
    ) -> list[LogEntry]:
        """Entries of logs of a partition that nobody of a group has got; they are in this consumer's hands then.

        Raises:
            InternalError: A log was made anew, so the group is not there.
        """
        names = {self._keys.topic(partition, name).encode(): name for name in topics}
        reply = await self._connection.wait(
            "XREADGROUP", "GROUP", group, consumer, "COUNT", READ_FRAMES, "BLOCK", block_ms, "STREAMS",
            *names, *(">" for _ in names),
        )  # fmt: skip
        return _entries(names, reply)

    async def read_own(self, partition: int, topic: str, group: str, consumer: str) -> list[LogEntry]:
        """Entries that this consumer was given and has not acknowledged; those trimmed since are gone."""
        key = self._keys.topic(partition, topic)
        reply = await self._connection.call(
            "XREADGROUP", "GROUP", group, consumer, "COUNT", 1000, "STREAMS", key, "0"
        )
        return _entries({key.encode(): topic}, reply)

    async def create_group(self, partition: int, topic: str, group: str, after: str) -> int:
        """Make a group's place in a log where it has none.

        Args:
            partition: Where the log lies.
            topic: Its name.
            group: Name of the group.
            after: The last entry that it does not want.

        Returns:
            Number of the last message that the group was given, be it new or old.
        """
        key = self._keys.topic(partition, topic)
        with contextlib.suppress(LockHeld):
            await self._connection.call("XGROUP", "CREATE", key, group, after, "MKSTREAM")
            return int(after.partition("-")[0])
        last, _ = await self._group(partition, topic, group)
        return int(last.partition("-")[0])

    async def _group(self, partition: int, topic: str, group: str) -> tuple[str, list[Consumer]]:
        key = self._keys.topic(partition, topic)
        last, *flat = await self._connection.script("look_at_group", [key], [group])
        if not last:
            raise InternalError(f"the log of the topic {topic} has no group {group}")
        parts = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return last.decode(), [
            Consumer(name.decode(errors="replace"), int(idle), int(pending)) for name, idle, pending in parts
        ]

    async def drop_group(self, partition: int, topic: str, group: str) -> None:
        """Give up a group's place in a log."""
        with contextlib.suppress(InternalError):
            await self._connection.call("XGROUP", "DESTROY", self._keys.topic(partition, topic), group)

    async def drop_groups(self, partition: int, group: str) -> None:
        """Give up the place of `agent/pattern` in all logs of a partition that the pattern stands for."""
        for name in filter(matcher(group.partition("/")[2]), await self.names(partition)):
            await self.drop_group(partition, name, group)

    async def acknowledge(self, entries: Sequence[tuple[int, str, str]], group: str) -> None:
        """Say that entries (partition, topic, entry) were handled."""
        pipeline = Pipeline()
        for partition, topic, entry in entries:
            pipeline.add("XACK", self._keys.topic(partition, topic), group, entry)
        await self._connection.run(pipeline)

    async def consumers(self, partition: int, topic: str, group: str) -> list[Consumer]:
        """Who reads a log together.

        Raises:
            InternalError: There is no such group.
        """
        return (await self._group(partition, topic, group))[1]

    async def take_over(self, partition: int, topic: str, group: str, consumer: str, gone: str) -> int:
        """Put what is in the hands of a consumer that is gone into those of another one; how many entries."""
        key = self._keys.topic(partition, topic)
        return int(await self._connection.script("take_over_log", [key], [group, consumer, gone]))

    async def leave(self, places: Sequence[tuple[int, str]], group: str, consumer: str) -> None:
        """Take a consumer out of its group in these logs (partition, topic); others get what it has in hand."""
        pipeline = Pipeline()
        for partition, topic in places:
            key = self._keys.topic(partition, topic)
            self._connection.add_script(pipeline, "leave_log", [key], [group, consumer, RELEASED])
        await self._connection.run(pipeline)

    async def names(self, partition: int) -> list[str]:
        """The topics of a partition, by what is stored of them; nothing of it is proven."""
        fields = await self._connection.call("HKEYS", self._keys.topics(partition))
        names = (field.decode(errors="replace") for field in fields)
        return [name.removeprefix("topic:") for name in names if name.startswith("topic:")]

    async def is_kept(self, partition: int, topic: str, agent: str, pattern: str) -> bool:
        """Whether there is a topic, and an agent keeps a place in the logs that match a pattern."""
        fields = (f"topic:{topic}", f"{DURABLE}{agent}:{pattern}")
        return all(await self._connection.call("HMGET", self._keys.topics(partition), *fields))

    async def records(self, partition: int) -> dict[str, bytes]:
        """What is known of the topics of a partition, sealed."""
        return hash_of(await self._connection.call("HGETALL", self._keys.topics(partition)))

    async def sizes(self, partition: int) -> dict[str, int]:
        """Bytes of each log of a partition."""
        reply = hash_of(await self._connection.call("HGETALL", self._keys.topic_sizes(partition)))
        return {name: int(size) for name, size in reply.items() if size.isdigit()}

    async def facts(self, partition: int, topics: Sequence[str], since_ms: int) -> list[LogFacts]:
        """What logs of a partition hold, and how many messages have come since a time (Unix milliseconds)."""
        pipeline = Pipeline()
        for topic in topics:
            key = self._keys.topic(partition, topic)
            self._connection.add_script(pipeline, "look_at_log", [key], [since_ms, COUNTED_ENTRIES])
        return [
            LogFacts(int(entries), first.decode(), last.decode(), int(recent), is_whole=bool(is_whole))
            for entries, first, last, recent, is_whole in await self._connection.run(pipeline)
        ]


def _entries(names: Mapping[bytes, str], reply: Any) -> list[LogEntry]:
    return [
        LogEntry(names[stream], entry.decode(), frame_of(fields or []), is_gone=not fields)
        for stream, entries in reply or ()
        for entry, fields in entries
    ]
