"""Scheduled messages as operators see them: what is known of each, and how one is cancelled."""

from __future__ import annotations

from mas_core.model.scheduled import cancel_field, due_name, item_field
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import hash_of


class ScheduledMessages:
    """The scheduled messages of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def fields(self) -> list[dict[str, bytes]]:
        """Of each partition: facts of its scheduled messages, and which of them are cancelled."""
        pipeline = Pipeline()
        for partition in range(self._keys.partitions):
            pipeline.add("HGETALL", self._keys.scheduled(partition))
        return [hash_of(reply) for reply in await self._connection.run(pipeline)]

    async def body(self, partition: int, scheduled: str) -> bytes | None:
        """A scheduled message, sealed."""
        key = self._keys.later_bodies(partition)
        reply = await self._connection.call("HGET", key, due_name(scheduled))
        return bytes(reply) if reply is not None else None

    async def cancel(self, partition: int, scheduled: str, cancellation: bytes) -> str:
        """Put a cancellation where the owner of the partition finds it, once.

        Returns:
            ok, missing (there is no such message), late (it is due) or decided (somebody has cancelled it).
        """
        keys = self._keys
        pipeline = Pipeline()
        self._connection.add_script(
            pipeline,
            "decide",
            [keys.scheduled(partition), keys.later(partition), keys.later_bodies(partition)],
            [due_name(scheduled), item_field(scheduled), cancel_field(scheduled), cancellation],
        )
        (reply,) = await self._connection.run_safely(pipeline)
        return str(reply[0].decode())

    async def outcome(self, partition: int, scheduled: str) -> bytes | None:
        """What became of a scheduled message; None while that is open, or long ago."""
        key = self._keys.schedule_outcome(partition, scheduled)
        reply = await self._connection.call("HGET", key, "outcome")
        return bytes(reply) if reply is not None else None
