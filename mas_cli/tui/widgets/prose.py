"""A pane of lines to read: details, payloads, help. It scrolls, and reads nothing as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from mas_cli.output.documents import json_text
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell
from mas_cli.tui.widgets.line_table import STYLES

MAX_LINES = 2_000


class Prose(VerticalScroll, can_focus=True):
    """Lines of text."""

    DEFAULT_CSS = "Prose { height: 1fr; } Prose > Static { width: 100%; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._body = Static(Text())
        self._shown = Text()

    def compose(self) -> Any:
        """The text."""
        yield self._body

    def say(self, text: Text) -> None:
        """Show this; where it scrolled to stays."""
        if text != self._shown:
            self._shown = text
            self._body.update(text)

    def toggle_wrap(self) -> None:
        """Cut long lines at the edge, or go on below."""
        self._body.styles.text_wrap = "wrap" if self._body.styles.text_wrap == "nowrap" else "nowrap"


def fields_text(pairs: Sequence[tuple[str, object]]) -> Text:
    """Names and values, one to a line."""
    room = max((len(name) for name, _ in pairs), default=0)
    text = Text()
    for name, value in pairs:
        text.append(f"{name:<{room}}  ", "bold")
        text.append(safe_text("-" if value in (None, "", [], {}, ()) else value))
        text.append("\n")
    return text


def heading(text: str) -> Text:
    """A line above others."""
    return Text(f"{text}\n", "bold underline")


def json_lines(value: object) -> Text:
    """A value as indented JSON, each line made safe."""
    lines = json_text(value, indent=2).splitlines()
    more = f"\n… {len(lines) - MAX_LINES} more lines" if len(lines) > MAX_LINES else ""
    return Text("\n".join(safe_text(line) for line in lines[:MAX_LINES]) + more, no_wrap=True)


def painted_lines(lines: Iterable[Sequence[Cell]]) -> Text:
    """Lines as commands print them, in the colours of the dashboard."""
    text = Text(no_wrap=True)
    for line in lines:
        for cell in line:
            text.append(cell.text, STYLES[cell.style] if cell.style else "")
        text.append("\n")
    return text
