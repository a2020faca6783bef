"""What a change of the policy changed, short enough for a record of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from mas_core.model.policy import PolicyDocument

_SELF_TOLD = {"revision", "changed_by", "changed_at", "change"}


def policy_difference(before: PolicyDocument, after: PolicyDocument, text: bytes) -> dict[str, object]:
    """Which parts differ and how.

    Args:
        before: The policy that counted.
        after: The one that counts now.
        text: The stored bytes of `after`: their hash says exactly which document it is.
    """
    found: dict[str, object] = {
        "revision": after.revision,
        "document_sha256": hashlib.sha256(text).hexdigest(),
    }
    if after.change != before.change:
        found["words"] = after.change
    for name in PolicyDocument.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if name not in _SELF_TOLD and old != new:
            found[name] = _difference(old, new)
    return found


def _difference(old: object, new: object) -> object:
    if isinstance(old, PolicyDocument | None) and isinstance(new, PolicyDocument | None):
        return "ended" if new is None else "set"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _without_empty(
            set={key: _plain(value) for key, value in new.items() if old.get(key) != value},
            removed=sorted(key for key in old if key not in new),
        )
    if isinstance(old, tuple) and isinstance(new, tuple):
        return _without_empty(added=_missing_from(old, new), removed=_missing_from(new, old))
    return {"from": _plain(old), "to": _plain(new)}


def _missing_from(items: Sequence[object], others: Sequence[object]) -> list[object]:
    known = {msgspec.json.encode(item) for item in items}
    return [_plain(item) for item in others if msgspec.json.encode(item) not in known]


def _without_empty(**parts: object) -> dict[str, object]:
    return {name: value for name, value in parts.items() if value}


def _plain(value: object) -> object:
    return msgspec.to_builtins(value)
