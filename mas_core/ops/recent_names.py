"""Message types and ids as they were seen last, for completion: it needs no keys and imports little.

What it reads is not verified: a name from here is a proposal, and is looked at anew when it is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from mas_core.base.ids import MESSAGE_ID, MESSAGE_TYPE
from mas_core.model.audit_record import AuditRecord
from mas_core.store.store import Store

RECORDS: Final = 200
"""So many records of each partition are looked at, about."""
AGENTS: Final = 200
"""So many agents are asked for the types that they take."""
REPLY: Final = ".reply"

_RECORD: Final = msgspec.json.Decoder(AuditRecord)


class _Metadata(msgspec.Struct):
    """The part of what an instance says about itself that is looked at."""

    types: tuple[str, ...] = ()


class _Instance(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


async def recent_types(url: str, namespace: str, partitions: int) -> list[str]:
    """Types that agents say they take, and those of the newest messages, sorted.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    async with Store(url, namespace=namespace, partitions=partitions) as store:
        agent_ids = await store.records.agent_ids()
        hashes = await store.records.agents(agent_ids[:AGENTS])
        told = {name for fields in hashes for name in _told(fields.items())}
        seen = {record.type for record in await _newest_messages(store, partitions)}
    return sorted(name for name in told | seen if MESSAGE_TYPE.fullmatch(name) and not name.endswith(REPLY))


async def recent_messages(url: str, namespace: str, partitions: int) -> list[tuple[str, str]]:
    """Ids of the newest messages and what each was, the newest first.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    async with Store(url, namespace=namespace, partitions=partitions) as store:
        records = await _newest_messages(store, partitions)
    found: dict[str, str] = {}
    for record in sorted(records, key=lambda item: item.time, reverse=True):
        if MESSAGE_ID.fullmatch(record.message_id):
            story = f"{record.type} {record.sender} -> {record.target} {record.decision}"
            found.setdefault(record.message_id, story)
    return list(found.items())


async def _newest_messages(store: Store, partitions: int) -> list[AuditRecord]:
    found = []
    for partition in range(partitions):
        count = 0
        async for block in store.records.audit_blocks(partition, newest_first=True):
            for text in block.records():
                count += 1
                with contextlib.suppress(msgspec.MsgspecError):
                    record = _RECORD.decode(text)
                    if record.kind == "message":
                        found.append(record)
            if count >= RECORDS:
                break
    return found


def _told(fields: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    for name, text in fields:
        if name.startswith("instance:"):
            # behind the MAC, which takes a key to check
            _, brace, data = text.partition(b"{")
            try:
                yield from msgspec.json.decode(brace + data, type=_Instance).metadata.types
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
