"""When colour is used, and the few styles there are. Colour never carries a meaning alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, get_args

from mas_core.errors import UsageError

When = Literal["auto", "always", "never"]
Style = Literal["bold", "dim", "good", "warn", "bad", "name", "changed"]

_CODES: dict[Style, str] = {
    "bold": "1",
    "dim": "2",
    "good": "32",
    "warn": "33",
    "bad": "31",
    "name": "36",
    "changed": "7",
}


class Palette:
    """Paints text, or leaves it alone when colour is off."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    def paint(self, text: str, style: Style) -> str:
        """`text` in `style`; `text` is safe already."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.enabled and text else text


def palette_for(when: str | None, is_terminal: bool, environ: Mapping[str, str] = os.environ) -> Palette:
    """The palette for a stream: --color, NO_COLOR, FORCE_COLOR, TERM=dumb, or whether it is a terminal.

    Raises:
        UsageError: `when` is none of auto, always, never.
    """
    if when not in {None, *get_args(When)}:
        raise UsageError(f"{when!r} is not a value of --color", hint="use auto, always or never")
    if when in {"always", "never"}:
        return Palette(when == "always")
    if environ.get("NO_COLOR"):
        return Palette(enabled=False)
    if environ.get("FORCE_COLOR"):
        return Palette(enabled=environ["FORCE_COLOR"] != "0")
    return Palette(is_terminal and environ.get("TERM") != "dumb")
