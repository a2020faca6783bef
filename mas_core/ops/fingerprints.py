"""Shows that a recorded message held a value, or did not, for whoever holds the gateway's keys."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator

from mas_core.errors import UsageError
from mas_core.model.json_text import encode_json, parse_json
from mas_core.ops import audit
from mas_core.ops.audit import StoredRecord
from mas_core.ops.system import System
from mas_core.security.fingerprints import canonical


def fingerprint_of(system: System, message_id: str, path: str | None, value: bytes) -> str:
    """What the record of a message says if it held this.

    Args:
        system: The system; its keys are needed.
        message_id: The message.
        path: JSON Pointer of a leaf; None for the payload as a whole.
        value: The leaf as JSON, or the payload exactly as it arrived.

    Raises:
        InvalidPayload: It is no JSON.
        UsageError: It is no leaf.
        SecretUnavailable: The keys are not at hand.
    """
    if path is None:
        return system.keys.payload_hmac(value)
    return system.keys.field_hmac(message_id, path, canonical(_leaf(value)))


async def matching(
    system: System, value: bytes, *, path: str | None = None, identifier: str = ""
) -> AsyncIterator[tuple[StoredRecord, str]]:
    """Records of messages that held a value, with the place where they did.

    Args:
        system: The system; its keys are needed.
        value: The leaf as JSON, or without `path` the payload exactly as it arrived.
        path: JSON Pointer of the leaf; `*` for any place; None for the payload as a whole.
        identifier: Only records about this message.

    Raises:
        InvalidPayload, UsageError, SecretUnavailable: As for `fingerprint_of`.
        MessageNotFound: There is no record of it.
    """
    keys = system.keys
    leaf = b"" if path is None else canonical(_leaf(value))
    whole = keys.payload_hmac(value) if path is None else ""
    async for found in _records(system, identifier):
        record = found.record
        if path is None:
            if hmac.compare_digest(record.payload_hmac.encode(), whole.encode()):
                yield found, ""
            continue
        for place in record.fingerprints if path == "*" else (path,):
            wanted = keys.field_hmac(record.message_id, place, leaf)
            if hmac.compare_digest(record.fingerprints.get(place, "").encode(), wanted.encode()):
                yield found, place


async def _records(system: System, identifier: str) -> AsyncIterator[StoredRecord]:
    if identifier:
        for found in await audit.get(system, identifier):
            yield found
        return
    async for found in audit.records(system, newest_first=False):
        yield found


def _leaf(value: bytes) -> object:
    leaf = parse_json(b'{"leaf":' + value + b"}")
    found = leaf["leaf"] if isinstance(leaf, dict) and len(leaf) == 1 else None
    if isinstance(found, dict | list) and found:
        raise UsageError(
            "only leaves have fingerprints of their own: text, numbers, true, false and null",
            hint="--path /customer/id --value '\"c-17\"'",
        )
    encode_json(found)
    return found
