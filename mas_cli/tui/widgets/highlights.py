"""Words that were looked for, made to stand out in a cell."""

from __future__ import annotations

from collections.abc import Iterable

from rich.segment import Segment
from rich.style import Style

_FOUND = Style(underline=True, bold=True)


def highlighted(text: str, style: Style, words: Iterable[str]) -> list[Segment]:
    """`text` in segments, the first of the words that is in it underlined."""
    lowered = text.casefold()
    for word in words:
        at = lowered.find(word.casefold())
        if at >= 0 and len(lowered) == len(text):
            end = at + len(word)
            return [
                Segment(text[:at], style),
                Segment(text[at:end], style + _FOUND),
                Segment(text[end:], style),
            ]
    return [Segment(text, style)]
