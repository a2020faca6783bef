"""A JSON tree as one text to search in, with a way back from each place in it to the leaf.

The text holds every key, followed by KEY_END, and every scalar, followed by VALUE_END. Beside it stand the
seams: the neighbouring strings of each container put together, and its neighbouring numbers with dashes
between, so that what was cut into parts is whole again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, repeat
from typing import Final, Literal

from mas_core.security.dlp.normalise import fold_marked, normalise, origins

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
Path = tuple[str | int, ...]
Place = Literal["text", "number", "key"]

KEY_END: Final = "\x1f"
VALUE_END: Final = "\x1e"
NUMBER_SEAM: Final = "-"
MAX_DEPTH: Final = 64


class DepthError(ValueError):
    """The tree has more levels than are walked."""


@dataclass(frozen=True)
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
        """Neighbouring scalars of one kind in one container, two or more."""
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
            self._add(Leaf(inner, "key", key, normalise(key)), KEY_END)
            scalars.append(self._walk(child, inner))
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
    """The digits of a number; of a whole float without the point."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return str(number)


def flatten(value: JsonValue) -> str | None:
    """The text and the seams of a tree in one string, fast, as a reader sees them.

    None when some leaf holds the marks that end keys and values, so that only a `Document` can tell.

    Raises:
        DepthError: The tree has more than MAX_DEPTH levels.
        TypeError: It holds something that is not JSON.
    """
    parts: list[str] = []
    seams: list[str] = []
    marks = _flatten([value], -1, parts, seams)
    text = "".join(parts)
    if text.count(VALUE_END) + text.count(KEY_END) != marks:
        return None
    text += "".join(seams)
    return text if text.isascii() else fold_marked(text)


def _flatten(
    container: dict[str, JsonValue] | list[JsonValue], depth: int, parts: list[str], seams: list[str]
) -> int:
    """Append the pieces of a container; the number of marks that they hold."""
    if depth >= MAX_DEPTH:
        raise DepthError
    if type(container) is dict:
        marks = 2 * len(container)
        children: Iterable[tuple[str, JsonValue]] = container.items()
    else:
        marks = len(container)
        children = zip(repeat(""), container, strict=False)
    mark = KEY_END if type(container) is dict else ""
    previous: type | None = None
    for key, child in children:
        kind = type(child)
        if type(key) is not str:
            raise TypeError("a key is not text")
        if kind is str:
            parts.append(f"{key}{mark}{child}{VALUE_END}")
            if previous is not str:
                seams.append(VALUE_END)
            seams.append(child)  # type: ignore[arg-type]
            previous = str
        elif kind is int or kind is float:
            text = number_text(child)  # type: ignore[arg-type]
            parts.append(f"{key}{mark}{text}{VALUE_END}")
            seams.append(NUMBER_SEAM if previous is int else VALUE_END)
            seams.append(text)
            previous = int
        elif child is None or kind is bool:
            parts.append(f"{key}{mark}{VALUE_END}")
            previous = None
        elif kind is dict or kind is list:
            parts.append(f"{key}{mark}")
            seams.append(VALUE_END)
            marks += _flatten(child, depth + 1, parts, seams) - 1  # type: ignore[arg-type]
            previous = None
        else:
            raise TypeError("not a JSON value")
    return marks
