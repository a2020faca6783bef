"""Whether things move: when cursors and inboxes moved last, and since when something waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mas_core.base.ids import partition_of
from mas_core.model.priority import LANES
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import hash_of

AGENTS_AT_ONCE = 1000
"""Agents that are looked at in one round trip."""


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """A partition and what waits for its owner; times are Unix milliseconds by the server's clock."""

    partition: int
    owner: str
    lease: int
    """Until when the owner has it."""
    moved: int
    """When a cursor moved last; 0 for never."""
    audit_seq: int
    waiting: int
    """Frames that wait."""
    oldest: int
    """When the oldest of them was added; 0 when none waits."""


@dataclass(frozen=True, slots=True)
class AgentProgress:
    """An agent and what waits for it; times are Unix milliseconds by the server's clock."""

    agent_id: str
    backlog: int
    """Messages delivered and not settled."""
    handled: int
    """Messages that it has handled since it was registered."""
    moved: int
    """When it settled or handed back a message last; 0 for never."""
    oldest: int
    """When the oldest frame of the backlog was delivered; 0 when there is none."""
    in_hands: dict[str, int]
    """Instance -> frames that it has read and not settled."""


class Progress:
    """Reads what moves in one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def partitions(self) -> list[PartitionProgress]:
        """Every partition."""
        pipeline = Pipeline()
        for number in range(self._keys.width):
            pipeline.add("HGETALL", self._keys.meta(number))
            self._look(pipeline, [self._keys.ingress(number, lane) for lane in LANES])
        replies = await self._connection.run(pipeline)
        return [
            _partition(number, hash_of(meta), streams)
            for number, (meta, streams) in enumerate(zip(replies[::2], replies[1::2], strict=True))
        ]

    async def agents(self, agent_ids: Sequence[str]) -> list[AgentProgress]:
        """These agents; only those with a backlog are looked at closely."""
        found: list[AgentProgress] = []
        for first in range(0, len(agent_ids), AGENTS_AT_ONCE):
            found += await self._agents(agent_ids[first : first + AGENTS_AT_ONCE])
        return found

    async def _agents(self, agent_ids: Sequence[str]) -> list[AgentProgress]:
        counts, streams = Pipeline(), Pipeline()
        fields = ("moved", "handled", *(f"unsettled:{lane}" for lane in LANES))
        for agent_id in agent_ids:
            partition = partition_of(agent_id, self._keys.partitions)
            counts.add("HMGET", self._keys.work(partition, agent_id), *fields)
        numbers = [[_number(value) for value in reply] for reply in await self._connection.run(counts)]
        busy = [name for name, (_, _, *backlog) in zip(agent_ids, numbers, strict=True) if sum(backlog)]
        for agent_id in busy:
            partition = partition_of(agent_id, self._keys.partitions)
            self._look(streams, [self._keys.inbox(partition, agent_id, lane) for lane in LANES])
        looked = dict(zip(busy, await self._connection.run(streams) if busy else (), strict=True))
        found = []
        for agent_id, (moved, handled, *backlog) in zip(agent_ids, numbers, strict=True):
            in_hands: Counter[str] = Counter()
            for _, _, hands in looked.get(agent_id, ()):
                for name, frames in zip(hands[::2], hands[1::2], strict=True):
                    in_hands[name.decode(errors="replace")] += int(frames)
            oldest = _oldest(looked.get(agent_id, ()))
            found.append(AgentProgress(agent_id, sum(backlog), handled, moved, oldest, dict(in_hands)))
        return found

    def _look(self, pipeline: Pipeline, streams: Sequence[str]) -> None:
        self._connection.add_script(pipeline, "look_at_streams", streams, [])


def _partition(number: int, meta: dict[str, bytes], streams: Any) -> PartitionProgress:
    return PartitionProgress(
        number,
        meta.get("owner", b"").decode(errors="replace"),
        _number(meta.get("lease")),
        _number(meta.get("moved")),
        _number(meta.get("audit_seq")),
        sum(int(length) for length, _, _ in streams),
        _oldest(streams),
    )


def _oldest(streams: Any) -> int:
    """When the first entry of all streams was added; ids begin with it."""
    firsts = [_number(first.partition(b"-")[0]) for _, first, _ in streams if first]
    return min(firsts, default=0)


def _number(value: bytes | None) -> int:
    """A count or a time; what an agent may write itself and is no number counts for nothing."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0
