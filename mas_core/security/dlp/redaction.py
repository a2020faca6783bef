"""Replace what was found, in strings, numbers and keys, without touching the tree that was given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mas_core.security.dlp.document import JsonValue, Path, Place
from mas_core.security.dlp.rules import Rule


class Hit(NamedTuple):
    """A confirmed match of a rule, with the place in the tree that was given."""

    rule: Rule
    path: Path
    place: Place
    start: int
    end: int


def mask(text: str, hits: Iterable[Hit]) -> str:
    """`text` with each hit replaced by `[REDACTED:<rule>]`; hits that overlap are replaced as one."""
    pieces: list[str] = []
    position = 0
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if hit.end <= position:
            continue
        if hit.start >= position:
            pieces += text[position : hit.start], f"[REDACTED:{hit.rule.id}]"
        position = hit.end
    return "".join((*pieces, text[position:]))


def redact(value: JsonValue, hits: Sequence[Hit]) -> JsonValue:
    """A copy of the tree without the text of the hits; a number that was hit becomes a string."""
    values: defaultdict[Path, list[Hit]] = defaultdict(list)
    keys: defaultdict[Path, list[Hit]] = defaultdict(list)
    for hit in hits:
        (keys if hit.place == "key" else values)[hit.path].append(hit)
    return _copy(value, (), values, keys)


def pointer(path: Path, keys: Mapping[Path, Sequence[Hit]]) -> str:
    """The JSON Pointer of a path, in which keys that were hit are masked."""
    parts = []
    for depth, part in enumerate(path, 1):
        text = str(part)
        if hits := keys.get(path[:depth]):
            text = mask(text, hits)
        parts.append("/" + text.replace("~", "~0").replace("/", "~1"))
    return "".join(parts)


def _copy(
    value: JsonValue, path: Path, values: Mapping[Path, list[Hit]], keys: Mapping[Path, list[Hit]]
) -> JsonValue:
    if isinstance(value, dict):
        copy: dict[str, JsonValue] = {}
        for key, child in value.items():
            inner = (*path, key)
            name = _free_name(mask(key, keys[inner]), copy, value) if inner in keys else key
            copy[name] = _copy(child, inner, values, keys)
        return copy
    if isinstance(value, list):
        return [_copy(child, (*path, index), values, keys) for index, child in enumerate(value)]
    hits = values.get(path)
    if not hits:
        return value
    return mask(value, hits) if isinstance(value, str) else f"[REDACTED:{hits[0].rule.id}]"


def _free_name(name: str, *taken: Mapping[str, JsonValue]) -> str:
    candidate, number = name, 1
    while any(candidate in names for names in taken):
        number += 1
        candidate = f"{name} {number}"
    return candidate
