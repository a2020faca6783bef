"""Dead letters as operators see them: lists without payloads, single ones, and orders about them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from mas_core.model.dead_letter import ORDER_PREFIX, Act
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import StoredLetter, letter_of

PAGE = 500


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order about one dead letter, sealed."""

    id: str
    partition: int
    entry: str
    act: Act
    sealed: bytes


def order_name(entry: str) -> str:
    """What an order about a dead letter is called among what is due."""
    return f"{ORDER_PREFIX}{entry}"


class DeadLetters:
    """The dead letters of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def pages(self, partition: int, *, oldest: str = "-") -> AsyncIterator[list[StoredLetter]]:
        """The dead letters of a partition, the newest first, page by page and without their messages."""
        keys = [self._keys.dead(partition), self._keys.dropped(partition)]
        newest = "+"
        while True:
            reply = await self._connection.script("read_letters", keys, [newest, oldest, PAGE])
            found = [
                StoredLetter(entry.decode(), facts, b"", int(float(dropped or 0)))
                for entry, _message_id, facts, dropped in reply
            ]
            if found:
                yield found
            if len(found) < PAGE:
                return
            newest = f"({found[-1].entry}"

    async def places_of(self, message_id: str) -> list[tuple[int, str]]:
        """Partition and place of the dead letters of a message, the newest first."""
        places = []
        for partition in range(self._keys.width):
            keys = [self._keys.dead(partition), self._keys.dropped(partition)]
            newest = "+"
            while reply := await self._connection.script("read_letters", keys, [newest, "-", PAGE]):
                places += [(partition, item[0].decode()) for item in reply if item[1] == message_id.encode()]
                newest = f"({reply[-1][0].decode()}"
        return sorted(places, key=lambda place: int(place[1].partition("-")[0]), reverse=True)

    async def get(self, partition: int, entry: str) -> StoredLetter | None:
        """One dead letter with its sealed message."""
        pipeline = Pipeline()
        pipeline.add("XRANGE", self._keys.dead(partition), entry, entry)
        pipeline.add("ZSCORE", self._keys.dropped(partition), entry)
        found, dropped = await self._connection.run(pipeline)
        return letter_of(found[0], dropped) if found else None

    async def order(self, orders: Sequence[NewOrder]) -> list[str]:
        """Put orders where the owners of the partitions find them.

        Returns:
            For each: ok, missing, ordered, dropped or kept; all but the first mean that nothing was written.
        """
        pipeline = Pipeline()
        for number, order in enumerate(orders):
            partition = order.partition
            self._connection.add_script(
                pipeline,
                "order_letter",
                [
                    self._keys.dead(partition),
                    self._keys.dropped(partition),
                    self._keys.later(partition),
                    self._keys.later_bodies(partition),
                ],
                [order.entry, order_name(order.entry), order.sealed, order.act, f"0.{number % 1000:03d}"],
            )
        return [reply.decode() for reply in await self._connection.run_safely(pipeline)]

    async def outcomes(self, orders: Sequence[NewOrder]) -> list[bytes | None]:
        """What became of orders; None of those that no owner has taken up, or that ended long ago."""
        pipeline = Pipeline()
        for order in orders:
            pipeline.add("HGET", self._keys.letter_order(order.partition, order.id), "outcome")
        return list(await self._connection.run(pipeline))
