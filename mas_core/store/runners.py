"""What runners ask and tell in one round trip: heartbeats, and the backlogs of the agents that they scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mas_core.base.ids import partition_of
from mas_core.model.priority import LANES
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import hash_of


class Runners:
    """The heartbeats of the runners of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._clock = (0, 0.0)
        """What the server's clock last said, and when, by the monotonic clock."""

    async def beat(
        self, runner_id: str, status: Callable[[int], bytes], agent_ids: Sequence[str]
    ) -> tuple[int, list[int]]:
        """Write the heartbeat of a runner, and read the backlog of each of these agents.

        Args:
            runner_id: Whose heartbeat it is.
            status: Makes the heartbeat of a moment, in Unix milliseconds by the server's clock.
            agent_ids: Whose backlogs are wanted.

        Returns:
            The server's time, and how many messages of each agent are delivered and not settled.
        """
        told, at = self._clock
        now = told + int((time.monotonic() - at) * 1000) if told else await self._connection.time_ms()
        pipeline = Pipeline()
        pipeline.add("TIME")
        pipeline.add("HSET", self._keys.runners(), runner_id, status(now))
        for agent_id in agent_ids:
            work = self._keys.work(partition_of(agent_id, self._keys.partitions), agent_id)
            pipeline.add("HMGET", work, *(f"unsettled:{lane}" for lane in LANES))
        (seconds, microseconds), _, *counts = await self._connection.run(pipeline)
        now = int(seconds) * 1000 + int(microseconds) // 1000
        self._clock = (now, time.monotonic())
        return now, [sum(_count(value) for value in reply) for reply in counts]

    async def forget(self, runner_id: str) -> None:
        """Remove a runner that ended."""
        await self._connection.call("HDEL", self._keys.runners(), runner_id)

    async def heartbeats(self) -> dict[str, bytes]:
        """Runner id -> its last heartbeat."""
        return hash_of(await self._connection.call("HGETALL", self._keys.runners()))


def _count(value: bytes | None) -> int:
    """A count from a hash that an agent may write itself; what is no number counts for nothing."""
    try:
        return max(0, int(value or 0))
    except ValueError:
        return 0
