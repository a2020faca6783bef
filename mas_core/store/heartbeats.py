"""Heartbeats of one kind of process: a hash of what each says of itself."""

from __future__ import annotations

from collections.abc import Callable

from mas_core.store.connection import Connection, Pipeline
from mas_core.store.stored import hash_of


class Heartbeats:
    """The heartbeats under one key.

    Args:
        connection: To the store.
        key: A hash, process -> its last heartbeat.
    """

    def __init__(self, connection: Connection, key: str) -> None:
        self._connection = connection
        self._key = key

    async def beat(self, process_id: str, status: Callable[[int], bytes]) -> None:
        """Write the heartbeat of a process.

        Args:
            process_id: Whose it is.
            status: Makes the heartbeat of a moment, in Unix milliseconds by the store's clock.
        """
        now = await self._connection.time_ms()
        await self._connection.call("HSET", self._key, process_id, status(now))

    async def forget(self, process_id: str) -> None:
        """Remove a process that ended."""
        await self._connection.call("HDEL", self._key, process_id)

    async def all(self) -> tuple[int, dict[str, bytes]]:
        """The store's time, and process -> its last heartbeat."""
        pipeline = Pipeline()
        pipeline.add("TIME")
        pipeline.add("HGETALL", self._key)
        (seconds, microseconds), fields = await self._connection.run(pipeline)
        return int(seconds) * 1000 + int(microseconds) // 1000, hash_of(fields)
