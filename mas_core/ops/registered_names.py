"""Ids of the registered agents, for completion: it needs no keys and imports little."""

from __future__ import annotations

from mas_core.settings.target import Target
from mas_core.store.store import Store


async def registered_names(target: Target) -> list[str]:
    """Ids of all registered agents, sorted.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    async with Store(target.url, namespace=target.namespace, partitions=target.partitions) as store:
        return await store.records.agent_ids()
