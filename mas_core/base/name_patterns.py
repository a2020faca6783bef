"""Patterns over names with dots: `orders.*` is one more word, `orders.>` is one or more words."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

ANYTHING: Final = ">"


def is_exact(pattern: str) -> bool:
    """Whether the pattern matches one name only."""
    return "*" not in pattern and ">" not in pattern


@lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], bool]:
    """A test whether a name matches a well-formed pattern; an empty name only matches `>`."""
    if pattern == ANYTHING:
        return _always
    if is_exact(pattern):
        return pattern.__eq__
    words = pattern.split(".")
    takes_rest = words[-1] == ANYTHING
    fixed = tuple(
        (place, word)
        for place, word in enumerate(words)
        if word != "*" and (word != ANYTHING or not takes_rest)
    )
    count = len(words)

    def matches(name: str) -> bool:
        found = name.split(".")
        if len(found) != count if not takes_rest else len(found) < count:
            return False
        if "" in found:
            return False
        return all(found[place] == word for place, word in fixed)

    return matches


def _always(_name: str) -> bool:
    return True
