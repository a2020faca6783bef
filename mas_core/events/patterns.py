"""Patterns over names with dots: `orders.*` is one more word, `orders.>` is one or more words."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from mas_core.errors import FilterInvalid
from mas_core.model.event import EVENT_NAME

ANYTHING: Final = ">"
_STAND_IN: Final = str.maketrans("*>", "xx")


def check_pattern(pattern: str) -> str:
    """Return `pattern` when it can be one.

    Raises:
        FilterInvalid: A word is empty, a wildcard is only a part of a word, or `>` is not the last word.
    """
    column = 1
    words = pattern.split(".")
    for number, word in enumerate(words, 1):
        if not word:
            _refuse(pattern, column, "a word is missing")
        if not EVENT_NAME.fullmatch(word.translate(_STAND_IN)) or len(pattern) > 256:
            _refuse(pattern, column, "words have visible ASCII characters, and a pattern has at most 256")
        if len(word) > 1 and ("*" in word or ">" in word):
            _refuse(pattern, column, "* and > are words of their own")
        if word == ">" and number < len(words):
            _refuse(pattern, column, "> stands for the rest, so nothing can follow it")
        column += len(word) + 1
    return pattern


def is_exact(pattern: str) -> bool:
    """Whether the pattern matches one name only."""
    return "*" not in pattern and ">" not in pattern


def literal_prefix(pattern: str) -> str:
    """What every name that the pattern matches begins with."""
    places = [place for place in (pattern.find("*"), pattern.find(">")) if place >= 0]
    return pattern[: min(places)] if places else pattern


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test whether a name matches `pattern`; an empty name only matches `>`.

    Raises:
        FilterInvalid: It cannot be a pattern.
    """
    check_pattern(pattern)
    if pattern == ANYTHING:
        return _always
    if is_exact(pattern):
        return pattern.__eq__
    words = pattern.split(".")
    takes_rest = words[-1] == ">"
    fixed = tuple(
        (place, word) for place, word in enumerate(words) if word != "*" and (word != ">" or not takes_rest)
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


def _refuse(pattern: str, column: int, why: str) -> None:
    raise FilterInvalid(
        f"{pattern[:80]!r} cannot be a pattern: {why} (column {column})",
        hint="patterns look like order.created, order.* or order.>",
        line=1,
        column=column,
    )
