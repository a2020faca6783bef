"""The logs of topics behind a server; each call is one of the `Frames` service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mas_core.model.frame import Frame
from mas_core.protocol import frames_pb2 as wire
from mas_core.protocol.frames_pb2 import Call
from mas_core.remote.exchange import Exchange
from mas_core.store.topics import Consumer, LogEntry


class RemoteLogs:
    """What `store.topics.TopicLogs` is for agents that reach the store themselves; see there for each call.

    Args:
        exchange: The conversation with the server.
        agent_id: The agent that the certificate is for; its groups are named after it, and only those are reached.
    """

    def __init__(self, exchange: Exchange, agent_id: str) -> None:
        self._exchange = exchange
        self._prefix = f"{agent_id}/"

    @property
    def partitions(self) -> int:
        """Number of partitions, as far as it is known here."""
        return self._exchange.partitions

    @property
    def layout(self) -> int:
        """Number of the layout that is in force, as far as it is known here."""
        return self._exchange.layout

    async def read(self, partition: int, after: Mapping[str, str], block_ms: int) -> list[LogEntry]:
        """Entries of logs of a partition."""
        read = wire.ReadLogs(partition=partition, after=after, block_ms=block_ms)
        answer = await self._exchange.call(Call(read_logs=read), wait_ms=block_ms)
        return _entries(answer.entries.entries)

    async def read_group(
        self, partition: int, topics: Sequence[str], group: str, consumer: str, block_ms: int
    ) -> list[LogEntry]:
        """Entries of logs of a partition that nobody of a group has got."""
        read = wire.ReadGroup(
            partition=partition,
            topics=topics,
            pattern=self._pattern(group),
            instance=consumer,
            block_ms=block_ms,
        )
        answer = await self._exchange.call(Call(read_group=read), wait_ms=block_ms)
        return _entries(answer.entries.entries)

    async def read_own(self, partition: int, topic: str, group: str, consumer: str) -> list[LogEntry]:
        """Entries that this consumer was given and has not acknowledged."""
        read = wire.ReadOwn(partition=partition, topic=topic, pattern=self._pattern(group), instance=consumer)
        return _entries((await self._exchange.call(Call(read_own=read))).entries.entries)

    async def create_group(self, partition: int, topic: str, group: str, after: str) -> int:
        """Make a group's place in a log where it has none."""
        create = wire.CreateGroup(partition=partition, topic=topic, pattern=self._pattern(group), after=after)
        return (await self._exchange.call(Call(create_group=create))).number.value

    async def drop_group(self, partition: int, topic: str, group: str) -> None:
        """Give up a group's place in a log."""
        drop = wire.DropGroups(partition=partition, topic=topic, pattern=self._pattern(group))
        await self._exchange.call(Call(drop_groups=drop))

    async def drop_groups(self, partition: int, group: str) -> None:
        """Give up a group's place in all logs of a partition."""
        drop = wire.DropGroups(partition=partition, pattern=self._pattern(group))
        await self._exchange.call(Call(drop_groups=drop))

    async def acknowledge(self, entries: Sequence[tuple[int, str, str]], group: str) -> None:
        """Say that entries (partition, topic, entry) were handled."""
        named = [
            wire.AcknowledgeEntries.One(partition=partition, topic=topic, entry=entry)
            for partition, topic, entry in entries
        ]
        acknowledge = wire.AcknowledgeEntries(entries=named, pattern=self._pattern(group))
        await self._exchange.call(Call(acknowledge_entries=acknowledge))

    async def consumers(self, partition: int, topic: str, group: str) -> list[Consumer]:
        """Who reads a log together."""
        ask = wire.ListConsumers(partition=partition, topic=topic, pattern=self._pattern(group))
        answer = await self._exchange.call(Call(list_consumers=ask))
        return [Consumer(item.name, item.idle_ms, item.in_hand) for item in answer.consumers.consumers]

    async def take_over(self, partition: int, topic: str, group: str, consumer: str, gone: str) -> int:
        """Put what a consumer that is gone had in hand into the hands of another one."""
        take = wire.TakeOver(
            partition=partition, topic=topic, pattern=self._pattern(group), instance=consumer, gone=gone
        )
        return (await self._exchange.call(Call(take_over=take))).number.value

    async def leave(self, places: Sequence[tuple[int, str]], group: str, consumer: str) -> None:
        """Take a consumer out of its group in these logs."""
        named = [wire.LeaveGroups.One(partition=partition, topic=topic) for partition, topic in places]
        leave = wire.LeaveGroups(places=named, pattern=self._pattern(group), instance=consumer)
        await self._exchange.call(Call(leave_groups=leave))

    def _pattern(self, group: str) -> str:
        return group.removeprefix(self._prefix)


def _entries(entries: Iterable[wire.LogEntries.One]) -> list[LogEntry]:
    return [
        LogEntry(item.topic, item.entry, Frame(item.frame.header, item.frame.body), is_gone=item.is_gone)
        for item in entries
    ]
