"""Finds what was filed under patterns that a message type may match, without looking at the others.

A pattern is filed under its literal text when it has no wildcard, else under what stands before its first
wildcard, else under what stands after its last one. A look-up costs one step for each length of such parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

Filed = TypeVar("Filed")

_WILDCARDS = re.compile(r"[*?]+")


class TypeIndex(Generic[Filed]):
    """Lists of things by the pattern that each was filed under."""

    __slots__ = ("_by_end", "_by_start", "_by_text", "_end_lengths", "_start_lengths")

    def __init__(self) -> None:
        self._by_text: dict[str, list[Filed]] = {}
        self._by_start: dict[str, list[Filed]] = {}
        self._by_end: dict[str, list[Filed]] = {}
        self._start_lengths: tuple[int, ...] = ()
        self._end_lengths: tuple[int, ...] = ()

    def add(self, glob: str, item: Filed) -> None:
        """File `item` under a pattern; things under the same part keep the order in which they came."""
        parts = _WILDCARDS.split(glob)
        if len(parts) == 1:
            self._by_text.setdefault(glob, []).append(item)
        elif parts[0] or not parts[-1]:
            self._by_start.setdefault(parts[0], []).append(item)
            self._start_lengths = tuple(sorted({len(part) for part in self._by_start}))
        else:
            self._by_end.setdefault(parts[-1], []).append(item)
            self._end_lengths = tuple(sorted({len(part) for part in self._by_end}))

    def lists(self, message_type: str) -> Iterator[list[Filed]]:
        """Lists of all things whose pattern may match; patterns with a part that differs are not among them."""
        if found := self._by_text.get(message_type):
            yield found
        size = len(message_type)
        for length in self._start_lengths:
            if length > size:
                break
            if found := self._by_start.get(message_type[:length]):
                yield found
        for length in self._end_lengths:
            if length > size:
                break
            if found := self._by_end.get(message_type[size - length :]):
                yield found
