"""Text of others made fit for a page: nothing invisible, nothing that turns the reading order, and not endless."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

MAX_LENGTH: Final = 300
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]!|~])")


def visible(value: object, limit: int = MAX_LENGTH) -> str:
    """`value` on one line, cut after `limit` characters; what cannot be seen is shown as its number."""
    text = str(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if unicodedata.category(character)[0] != "C" and character not in "\u2028\u2029"
        else _numbered(character)
        for character in text
    )


def _numbered(character: str) -> str:
    return "\\u{" + f"{ord(character):x}" + "}"


def for_html(value: object) -> str:
    """As `visible`, for the text or an attribute of an HTML page."""
    return html.escape(visible(value))


def for_markdown(value: object, limit: int = MAX_LENGTH) -> str:
    """As `visible`, for a line or a cell of a table in Markdown."""
    return html.escape(_MARKDOWN.sub(r"\\\1", visible(value, limit)), quote=False)


def number(value: int | str) -> str:
    """Numbers with a thin group of thousands, other values as they are."""
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else value
