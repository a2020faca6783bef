"""Text from the wire made fit to be shown: nothing invisible, nothing a terminal would obey.

Every string that did not come from this program's own source passes through here on its way to a
screen. Documents (JSON, YAML) keep their text and escape it instead; see `documents`.
"""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = (
    "\x7f-\x9f"  # DEL and the C1 controls
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff"
    "\U000e0000-\U000e0fff"  # tags: text that hides in other text
)
"""Beyond the C0 controls, in the syntax of a character class."""

SHOWN_CHARACTERS = 10_000

_UNSAFE = re.compile(f"[\x00-\x1f{INVISIBLE}]")
_CONTROL_PICTURES = 0x2400


def _made_visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def safe_text(value: object, limit: int | None = SHOWN_CHARACTERS) -> str:
    """`value` as one line of visible text, cut after `limit` characters with a note on what is missing."""
    text = str(value)
    missing = ""
    if limit is not None and len(text) > limit:
        missing = f"…+{_size(len(text[limit:].encode(errors='surrogatepass')))}"
        text = text[:limit]
    return _UNSAFE.sub(_made_visible, text) + missing


def one_for_one(text: str) -> str:
    """`text` with a visible character in place of each that is none: for fields in which a cursor moves."""
    return _UNSAFE.sub(
        lambda match: chr(_CONTROL_PICTURES + ord(match[0])) if ord(match[0]) < 0x20 else "\ufffd", text
    )


def display_width(text: str) -> int:
    """How many columns of a terminal `text` takes; `text` is safe already."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, the last of which is `…` when something was cut."""
    if display_width(text) <= width:
        return text
    kept: list[str] = []
    room = width - 1
    for character in text:
        room -= _character_width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…" if width > 0 else ""


def _character_width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _size(size: int) -> str:
    return f"{size} B" if size < 1000 else f"{size // 1000} kB"
