"""Records of resources, as the gateways have sealed them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from mas_core.errors import DecryptionFailed
from mas_core.model.resource_record import finished_purpose, record_purpose
from mas_core.ops.system import System
from mas_core.security.seals import AtRest
from mas_core.store.resources import finished_resource, open_resource, open_resources


async def open_records(system: System, kind: str) -> AsyncIterator[tuple[str, bytes]]:
    """Name and record of each resource of a kind that is not over; what is not ours is left out.

    Raises:
        SecretUnavailable: The gateway's keys are not at hand.
    """
    at_rest = AtRest(system.keys.at_rest_key)
    for partition in range(system.store.partitions):
        sealed = await open_resources(system.store.connection, system.store.keys, partition, kind)
        for name, text in sealed.items():
            record = _unsealed(at_rest, record_purpose(kind, name), text)
            if record is not None:
                yield name, record


async def open_record(system: System, kind: str, name: str) -> bytes | None:
    """The record of one resource that is not over, if there is one and it is ours.

    Raises:
        SecretUnavailable: The gateway's keys are not at hand.
    """
    at_rest = AtRest(system.keys.at_rest_key)
    sealed = await open_resource(system.store.connection, system.store.keys, kind, name)
    return _unsealed(at_rest, record_purpose(kind, name), sealed)


async def finished_record(system: System, kind: str, name: str) -> bytes | None:
    """The last record of one resource that is over, while it is kept and if it is ours.

    Raises:
        SecretUnavailable: The gateway's keys are not at hand.
    """
    at_rest = AtRest(system.keys.at_rest_key)
    sealed = await finished_resource(system.store.connection, system.store.keys, kind, name)
    return _unsealed(at_rest, finished_purpose(kind, name), sealed)


def _unsealed(at_rest: AtRest, purpose: str, sealed: bytes | None) -> bytes | None:
    try:
        return None if sealed is None else at_rest.open(purpose, sealed)
    except DecryptionFailed:
        # About what is open the gateway that owns the partition raises the alarm.
        return None
