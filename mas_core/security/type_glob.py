"""Globs over message types: `*` matches any run of characters, also an empty one, `?` exactly one."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from mas_core.errors import UsageError

TYPE_GLOB = re.compile(r"[A-Za-z0-9_.*?-]{1,128}")


def check_glob(glob: str) -> str:
    """Return `glob` when it can be one over message types.

    Raises:
        UsageError: It has other characters, or is empty or too long.
    """
    if not TYPE_GLOB.fullmatch(glob):
        raise UsageError(
            f"{glob!r} cannot be a pattern for message types",
            hint="patterns look like invoice.* : 1 to 128 letters, digits, '_', '.', '-', '*', '?'",
        )
    return glob


@lru_cache(maxsize=8192)
def compile_glob(glob: str) -> Callable[[str], bool]:
    """A test whether a whole text matches `glob`, in time linear to text times glob."""
    if "*" not in glob and "?" not in glob:
        return glob.__eq__
    if not glob.strip("*"):
        return _always
    first, *middle = re.split(r"\*+", glob)
    pattern = _literal(first)
    if middle:
        # The leftmost place of each part leaves most room for the rest, so no part is ever tried again.
        *parts, last = middle
        pattern += "".join(f"(?>.*?{_literal(part)})" for part in parts) + f".*{_literal(last)}"
    matches = re.compile(pattern, re.DOTALL).fullmatch
    return lambda text: matches(text) is not None


def glob_covers(wide: str, narrow: str) -> bool:
    """Whether `wide` matches all that `narrow` matches; only when sure.

    Read as text, `narrow` matches `wide` in this way: a `*` of `wide` swallows anything, its `?` anything but
    a `*`, and every other character only itself.
    """
    reached = {0}
    for character in narrow:
        reached = _skip_stars(wide, reached)
        moved: set[int] = set()
        for place in reached:
            if place < len(wide):
                expected = wide[place]
                if expected == "*":
                    moved.add(place)
                elif expected == character or (expected == "?" and character != "*"):
                    moved.add(place + 1)
        reached = moved
    return len(wide) in _skip_stars(wide, reached)


def _skip_stars(wide: str, places: set[int]) -> set[int]:
    found = set(places)
    for place in places:
        after = place
        while after < len(wide) and wide[after] == "*":
            after += 1
            found.add(after)
    return found


def _literal(part: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in part)


def _always(_text: str) -> bool:
    return True
