"""Replace what was found, in strings, numbers and keys, without touching the tree that was given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from mas_core.security.dlp.document import JsonValue, Path, Place, number_text
from mas_core.security.dlp.rules import Rule


class Hit(NamedTuple):
    """A confirmed match of a rule, with the place in the tree that was given."""

    rule: Rule
    path: Path
    place: Place
    start: int
    end: int


Replacement = Callable[[Hit, str], str]
"""What stands in the place of a hit, which held the given text."""


def masked(hit: Hit, _text: str) -> str:
    """`[REDACTED:<rule>]`."""
    return f"[REDACTED:{hit.rule.id}]"


def replace(text: str, hits: Iterable[Hit], replacement: Replacement = masked) -> str:
    """`text` with each hit replaced; hits that overlap are replaced as one, as what the first of them is."""
    pieces: list[str] = []
    position = 0
    spans: list[tuple[Hit, int]] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if spans and hit.start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], hit.end))
        else:
            spans.append((hit, hit.end))
    for hit, end in spans:
        pieces += text[position : hit.start], replacement(hit, text[hit.start : end])
        position = end
    return "".join((*pieces, text[position:]))


def redact(value: JsonValue, hits: Sequence[Hit], replacement: Replacement = masked) -> JsonValue:
    """A copy of the tree without the text of the hits; a number that was hit becomes a string."""
    values: defaultdict[Path, list[Hit]] = defaultdict(list)
    keys: defaultdict[Path, list[Hit]] = defaultdict(list)
    for hit in hits:
        (keys if hit.place == "key" else values)[hit.path].append(hit)
    return _Copier(values, keys, replacement).copy(value, ())


def pointer(path: Path, keys: Mapping[Path, Sequence[Hit]]) -> str:
    """The JSON Pointer of a path, in which keys that were hit are masked."""
    parts = []
    for depth, part in enumerate(path, 1):
        text = str(part)
        if hits := keys.get(path[:depth]):
            text = replace(text, hits)
        parts.append("/" + text.replace("~", "~0").replace("/", "~1"))
    return "".join(parts)


class _Copier(NamedTuple):
    values: Mapping[Path, list[Hit]]
    keys: Mapping[Path, list[Hit]]
    replacement: Replacement

    def copy(self, value: JsonValue, path: Path) -> JsonValue:
        if isinstance(value, dict):
            members: dict[str, JsonValue] = {}
            for key, child in value.items():
                inner = (*path, key)
                hits = self.keys.get(inner)
                name = _free_name(replace(key, hits, self.replacement), members, value) if hits else key
                members[name] = self.copy(child, inner)
            return members
        if isinstance(value, list):
            return [self.copy(child, (*path, index)) for index, child in enumerate(value)]
        hits = self.values.get(path)
        if not hits:
            return value
        if isinstance(value, str):
            return replace(value, hits, self.replacement)
        assert isinstance(value, int | float)  # noqa: S101 - nothing else is ever hit
        return self.replacement(hits[0], number_text(value))


def _free_name(name: str, *taken: Mapping[str, JsonValue]) -> str:
    candidate, number = name, 1
    while any(candidate in names for names in taken):
        number += 1
        candidate = f"{name} {number}"
    return candidate
