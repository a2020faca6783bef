"""Records of resources, as the gateways have sealed them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from mas_core.errors import DecryptionFailed
from mas_core.ops.system import System
from mas_core.security.seals import AtRest
from mas_core.store.resources import load_resources


async def open_records(
    system: System, kind: str, purpose: Callable[[str, str], str]
) -> AsyncIterator[tuple[str, bytes]]:
    """Name and record of each resource of a kind that is not over; what is not ours is left out.

    Raises:
        SecretUnavailable: The gateway's keys are not at hand.
    """
    at_rest = AtRest(system.keys.at_rest_key)
    for partition in range(system.store.partitions):
        stored = await load_resources(system.store.connection, system.store.keys, partition)
        for name, sealed in stored.records[kind].items():
            try:
                yield name, at_rest.open(purpose(kind, name), sealed)
            except DecryptionFailed:
                # The gateway that owns the partition raises the alarm about it.
                continue
