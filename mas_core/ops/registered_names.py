"""Ids of the registered agents, for completion: it needs no keys and imports little."""

from __future__ import annotations

from mas_core.store.store import Store


async def registered_names(url: str, namespace: str, partitions: int) -> list[str]:
    """Ids of all registered agents, sorted.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    async with Store(url, namespace=namespace, partitions=partitions) as store:
        return await store.records.agent_ids()
