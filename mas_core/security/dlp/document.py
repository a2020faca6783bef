"""A JSON tree as one text to search in, with a way back from each place in it to the leaf.

The text holds every key, followed by KEY_END, and every scalar, followed by VALUE_END. Beside it stand the
runs: the neighbouring strings of each container, its neighbouring numbers, and each key with its value, to
be put together so that what was cut into parts is whole again.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final, Literal

from mas_core.model.json_text import encode_json
from mas_core.security.dlp.normalise import normalise, origins

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
Path = tuple[str | int, ...]
Place = Literal["text", "number", "key"]

KEY_END: Final = "\x1f"
VALUE_END: Final = "\x1e"
NUMBER_SEAM: Final = "-"
MAX_DEPTH: Final = 64


class DepthError(ValueError):
    """The tree has more levels than are walked."""


@dataclass(eq=False)
class Leaf:
    """One scalar or key of the tree."""

    path: Path
    place: Place
    text: str
    """As it stands in the tree; a number as its digits."""
    folded: str
    """As a reader sees it."""

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """Offsets in `text` of a span of `folded`."""
        if self.folded is self.text:
            return start, end
        return self._origins[start], self._origins[end]

    @cached_property
    def _origins(self) -> Sequence[int]:
        return origins(self.text)


class Document:
    """The searchable text of a tree, its leaves and its seams."""

    def __init__(self, value: JsonValue) -> None:
        self.leaves: list[Leaf] = []
        self.runs: list[list[Leaf]] = []
        """Neighbouring scalars of one kind in one container, two or more; and each key with its scalar."""
        self._starts: list[int] = []
        self._length = 0
        self._parts: list[str] = []
        self._walk(value, ())
        self.text = "".join(self._parts)

    def locate(self, start: int, end: int) -> tuple[Leaf, int, int]:
        """The leaf in which a span starts, and the span's offsets in the leaf's folded text, cut to it."""
        index = bisect_right(self._starts, start) - 1
        leaf, offset = self.leaves[index], self._starts[index]
        return leaf, start - offset, min(end - offset, len(leaf.folded))

    def _walk(self, value: JsonValue, path: Path) -> Leaf | None:
        if isinstance(value, dict | list) and len(path) >= MAX_DEPTH:
            raise DepthError
        if isinstance(value, dict):
            self._add_members(value, path)
        elif isinstance(value, list):
            self._add_runs([self._walk(child, (*path, index)) for index, child in enumerate(value)])
        elif isinstance(value, str):
            return self._add(Leaf(path, "text", value, normalise(value)), VALUE_END)
        elif isinstance(value, bool) or value is None:
            self._append(VALUE_END)
        elif isinstance(value, int | float):
            text = number_text(value)
            return self._add(Leaf(path, "number", text, text), VALUE_END)
        else:
            raise TypeError("not a JSON value")
        return None

    def _add_members(self, members: dict[str, JsonValue], path: Path) -> None:
        scalars = []
        for key, child in members.items():
            if not isinstance(key, str):
                raise TypeError("a key is not text")
            inner = (*path, key)
            name = self._add(Leaf(inner, "key", key, normalise(key)), KEY_END)
            scalar = self._walk(child, inner)
            scalars.append(scalar)
            if scalar is not None:
                self.runs.append([name, scalar])
        self._add_runs(scalars)

    def _add_runs(self, children: Sequence[Leaf | None]) -> None:
        for place, group in groupby(children, key=lambda leaf: leaf and leaf.place):
            run = [leaf for leaf in group if leaf]
            if place and len(run) > 1:
                self.runs.append(run)

    def _add(self, leaf: Leaf, end: str) -> Leaf:
        self.leaves.append(leaf)
        self._starts.append(self._length)
        self._append(leaf.folded)
        self._append(end)
        return leaf

    def _append(self, part: str) -> None:
        self._parts.append(part)
        self._length += len(part)


def number_text(number: float) -> str:
    """The digits of a number: as JSON has them, but those of a whole float without the point."""
    if isinstance(number, int):
        return str(number)
    if not math.isfinite(number):
        return str(number)
    if number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return encode_json(number).decode()
