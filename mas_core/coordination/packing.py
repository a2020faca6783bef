"""Lists of things that are much alike, as they travel: what all have in common is said once.

A thousand proposals differ in title and id, and everything that goes through the gateway is scanned.
"""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.errors import InvalidPayload

_FEW = 3


def packed(items: Sequence[dict[str, object]]) -> object:
    """A list of objects, or `{"shared": ..., "each": [...]}` where that is shorter."""
    if len(items) < _FEW:
        return list(items)
    first, rest = items[0], items[1:]
    shared = {
        name: value
        for name, value in first.items()
        if all(name in item and item[name] == value for item in rest)
    }
    return {
        "shared": shared,
        "each": [{name: value for name, value in item.items() if name not in shared} for item in items],
    }


def unpacked(value: object, most: int) -> list[dict[str, object]]:
    """The objects that `packed` was given.

    Args:
        value: From the wire.
        most: Objects that are taken.

    Raises:
        InvalidPayload: It is neither form, or too long.
    """
    shared: object = {}
    if isinstance(value, dict) and value.keys() == {"shared", "each"}:
        shared, value = value["shared"], value["each"]
    if not isinstance(value, list) or not isinstance(shared, dict) or len(value) > most:
        raise InvalidPayload(f"this is no list of at most {most}")
    if not all(isinstance(item, dict) for item in value):
        raise InvalidPayload("this is no list of objects")
    return [{**shared, **item} for item in value] if shared else value
