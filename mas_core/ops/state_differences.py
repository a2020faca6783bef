"""What differs between two states, value by value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Json = object

_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class StateDifference:
    """One part that is not the same."""

    path: str
    """As in `mas state get`; `.` for the whole."""
    change: Literal["added", "removed", "changed"]
    before: Json
    """None where it was added."""
    after: Json
    """None where it was removed."""


def differences(before: Json, after: Json) -> list[StateDifference]:
    """What has to be changed in `before` to get `after`, in the order of `before`."""
    return list(_between(before, after, ""))


def _between(before: Json, after: Json, path: str) -> Iterator[StateDifference]:
    here, there = _parts(before), _parts(after)
    if here is not None and there is not None and type(before) is type(after):
        for name in dict.fromkeys([*here, *there]):
            inner = f"{path}.{name}" if path else name
            yield from _between(here.get(name, _NOTHING), there.get(name, _NOTHING), inner)
    elif before is _NOTHING:
        yield StateDifference(path, "added", None, after)
    elif after is _NOTHING:
        yield StateDifference(path, "removed", before, None)
    elif before != after or type(before) is not type(after):
        yield StateDifference(path or ".", "changed", before, after)


def _parts(value: Json) -> dict[str, Json] | None:
    """Name -> part of what has parts."""
    if isinstance(value, dict):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return None
