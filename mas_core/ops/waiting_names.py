"""Ids of approvals, scheduled messages and dead letters, without anything that takes long to import."""

from __future__ import annotations

from mas_core.model.approval import APPROVAL_ID, item_in
from mas_core.model.dead_letter import letter_id
from mas_core.model.scheduled import item_in as scheduled_in
from mas_core.store.store import Store


async def waiting_names(url: str, namespace: str, partitions: int) -> list[str]:
    """The ids, as the store has them; whether they are genuine is found out when they are used."""
    async with Store(url, namespace=namespace, partitions=partitions) as store:
        found = await store.records.held()
    names = (item_in(name) for fields in found for name in fields)
    return sorted(name for name in names if name is not None and APPROVAL_ID.fullmatch(name))


async def scheduled_names(url: str, namespace: str, partitions: int) -> list[str]:
    """The ids of scheduled messages, as the store has them."""
    async with Store(url, namespace=namespace, partitions=partitions) as store:
        found = await store.schedule.fields()
    names = (scheduled_in(name) for fields in found for name in fields)
    return sorted({name.rpartition("/")[2] for name in names if name is not None})


async def letter_names(url: str, namespace: str, partitions: int) -> list[str]:
    """The ids of the newest dead letters of each partition, as the store has them."""
    names = []
    async with Store(url, namespace=namespace, partitions=partitions) as store:
        for partition in range(partitions):
            async for page in store.dead_letters.pages(partition):
                names += [letter_id(partition, letter.entry) for letter in page]
                break
    return names
