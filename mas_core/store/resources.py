"""What is stored of resources, as owners load it and operators read it; nothing of it is proven here."""

from __future__ import annotations

from dataclasses import dataclass

from mas_core.base.ids import partition_of
from mas_core.base.resources import KINDS
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.stored import hash_of


@dataclass(frozen=True, slots=True)
class StoredResources:
    """What an owner starts from."""

    records: dict[str, dict[str, bytes]]
    """Kind -> name -> sealed record of every resource of a partition that is not over."""
    fences: dict[str, int]
    """Target and group -> the highest term that a message to it has come with."""


async def load_resources(connection: Connection, keys: Keys, partition: int) -> StoredResources:
    """The resources of a partition.

    Raises:
        InternalError: A key holds something else.
        StoreUnreachable: The server does not answer.
    """
    pipeline = Pipeline()
    for kind in KINDS:
        pipeline.add("HGETALL", keys.resources(partition, kind))
    pipeline.add("HGETALL", keys.fences(partition))
    *records, fences = await connection.run(pipeline)
    return StoredResources(
        {kind: hash_of(reply) for kind, reply in zip(KINDS, records, strict=True)},
        {name: int(term) for name, term in hash_of(fences).items() if term.isdigit()},
    )


async def open_resources(connection: Connection, keys: Keys, partition: int, kind: str) -> dict[str, bytes]:
    """Name -> sealed record of every resource of one kind in a partition that is not over.

    Raises:
        InternalError: The key holds something else.
        StoreUnreachable: The server does not answer.
    """
    return hash_of(await connection.call("HGETALL", keys.resources(partition, kind)))


async def open_resource(connection: Connection, keys: Keys, kind: str, name: str) -> bytes | None:
    """The sealed record of one resource that is not over."""
    partition = _partition_of(keys, kind, name)
    reply: bytes | None = await connection.call("HGET", keys.resources(partition, kind), name)
    return reply


async def finished_resource(connection: Connection, keys: Keys, kind: str, name: str) -> bytes | None:
    """The last sealed record of one resource that is over, while it is kept."""
    partition = _partition_of(keys, kind, name)
    reply: bytes | None = await connection.call(
        "HGET", keys.finished_resource(partition, kind, name), "record"
    )
    return reply


def _partition_of(keys: Keys, kind: str, name: str) -> int:
    """Where a record lies; one of several that belong together, `resource/word`, lies where its resource does."""
    return partition_of(f"{kind}:{name.partition('/')[0]}", keys.partitions)
