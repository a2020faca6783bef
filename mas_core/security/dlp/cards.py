"""Payment card numbers: number ranges, Luhn, and the look of a number that is no card."""

from __future__ import annotations

import re
from typing import Final

from stdnum import ean, luhn

_SEPARATORS: Final = re.compile(r"[^0-9]+")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_HEX_LENGTHS: Final = frozenset({24, 32, 40, 48, 56, 64, 96, 128})
"""Lengths of object ids, trace ids and digests in hex."""
_IDENTIFIER: Final = frozenset("0123456789abcdefABCDEF-")

_RANGES: Final = (
    # first digits from, to, and the lengths of numbers that begin so
    ("4", "4", {13, 16, 19}),
    ("51", "55", {16}),
    ("2221", "2720", {16}),
    ("34", "34", {15}),
    ("37", "37", {15}),
    ("6011", "6011", {16, 17, 18, 19}),
    ("644", "649", {16, 17, 18, 19}),
    ("65", "65", {16, 17, 18, 19}),
    ("300", "305", {14, 16, 17, 18, 19}),
    ("36", "36", {14, 16, 17, 18, 19}),
    ("38", "39", {14, 16, 17, 18, 19}),
    ("3528", "3589", {16, 17, 18, 19}),
    ("62", "62", {16, 17, 18, 19}),
    *(
        (prefix, prefix, set(range(13, 20)))
        for prefix in ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")
    ),
)


def card(text: str, start: int, end: int) -> tuple[int, int] | None:
    """A card number; a last group of digits that does not belong to it is cut off."""
    for stop in _ends(text, start, end):
        separators = set(_SEPARATORS.findall(text, start, stop))
        if "." in separators and len(separators) > 1:
            continue
        number = _SEPARATORS.sub("", text[start:stop])
        if not _is_card(number):
            continue
        if not separators and (_is_fraction(text, start, stop) or _is_article_number(number)):
            continue
        if not _is_in_identifier(text, start, stop):
            return start, stop
    return None


def _ends(text: str, start: int, end: int) -> list[int]:
    """Where the number may end: at the match's end, or before its last group."""
    ends = [] if text[end : end + 1].isdigit() else [end]
    groups = list(_SEPARATORS.finditer(text, start, end))
    if groups and end - groups[-1].end() <= 3:
        ends.append(groups[-1].start())
    return ends


def _is_card(number: str) -> bool:
    return (
        any(low <= number[: len(low)] <= high and len(number) in lengths for low, high, lengths in _RANGES)
        and len(set(number)) > 1
        and bool(luhn.is_valid(number))
    )


def _is_fraction(text: str, start: int, end: int) -> bool:
    """Whether the digits are a side of a decimal point, as in 0.4111111111111111."""
    before = text[max(start - 2, 0) : start]
    after = re.compile(r"\.(\d+)").match(text, end)
    return (len(before) == 2 and before[1] == "." and before[0].isdigit()) or (
        after is not None and after[1].strip("0") != ""
    )


def _is_article_number(number: str) -> bool:
    """Whether it is a valid EAN-13, which goods carry and cards of 13 digits hardly ever happen to be."""
    return len(number) == 13 and bool(ean.is_valid(number))


def _is_in_identifier(text: str, start: int, end: int) -> bool:
    """Whether the digits belong to a UUID or to a digest in hex."""
    first, last = start, end
    while first > 0 and start - first < 128 and text[first - 1] in _IDENTIFIER:
        first -= 1
    while last < len(text) and last - end < 128 and text[last] in _IDENTIFIER:
        last += 1
    token = text[first:last].strip("-")
    if _UUID.fullmatch(token):
        return True
    return len(token) in _HEX_LENGTHS and "-" not in token and not token.isdigit()
