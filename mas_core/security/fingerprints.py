"""Keyed fingerprints of the leaves of a payload.

Who holds the key and a value can show later that a message had this value at this place, or had not. Who has
only the audit learns nothing, not even which messages hold the same value: the id of the message is part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mas_core.model.json_text import encode_json
from mas_core.security.gateway_keys import GatewayKeys

MAX_FIELDS: Final = 200
"""Leaves of one payload that get a fingerprint."""
CUT: Final = "#cut"
"""Stands beside the fingerprints of a payload with more leaves and says how many there are."""


def field_fingerprints(keys: GatewayKeys, message_id: str, value: object) -> dict[str, str]:
    """JSON Pointer (RFC 6901) of each leaf -> its fingerprint; of the first `MAX_FIELDS` leaves."""
    found: dict[str, str] = {}
    count = 0
    for path, leaf in leaves(value):
        count += 1
        if count <= MAX_FIELDS:
            found[path] = keys.field_hmac(message_id, path, canonical(leaf))
    if count > MAX_FIELDS:
        found[CUT] = str(count)
    return found


def leaves(value: object) -> Iterator[tuple[str, object]]:
    """Pointer and value of everything that holds nothing else, empty lists and objects included."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        path, found = waiting.pop()
        if isinstance(found, dict) and found:
            waiting += [(f"{path}/{_escaped(key)}", item) for key, item in reversed(found.items())]
        elif isinstance(found, list) and found:
            waiting += [(f"{path}/{index}", item) for index, item in reversed(list(enumerate(found)))]
        else:
            yield path, found


def canonical(leaf: object) -> bytes:
    """A leaf as JSON, the same for numbers that are equal: 1.0 is 1.

    Raises:
        InvalidPayload: JSON cannot say it.
    """
    if isinstance(leaf, float) and leaf.is_integer() and abs(leaf) < 2**53:
        leaf = int(leaf)
    return encode_json(leaf)


def at_pointer(value: object, pointer: str) -> object:
    """What stands at a JSON Pointer (RFC 6901); None when nothing does."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name[:9]) < len(value):
            value = value[int(name[:9])]
        else:
            return None
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
