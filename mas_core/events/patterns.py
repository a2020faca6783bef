"""Patterns over the names of events, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mas_core.base.name_patterns import matcher
from mas_core.errors import FilterInvalid
from mas_core.model.event import EVENT_NAME

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


def literal_prefix(pattern: str) -> str:
    """What every name that the pattern matches begins with."""
    places = [place for place in (pattern.find("*"), pattern.find(">")) if place >= 0]
    return pattern[: min(places)] if places else pattern


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A test whether a name matches `pattern`; an empty name only matches `>`.

    Raises:
        FilterInvalid: It cannot be a pattern.
    """
    return matcher(check_pattern(pattern))


def _refuse(pattern: str, column: int, why: str) -> None:
    raise FilterInvalid(
        f"{pattern[:80]!r} cannot be a pattern: {why} (column {column})",
        hint="patterns look like order.created, order.* or order.>",
        line=1,
        column=column,
    )
