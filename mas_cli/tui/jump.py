"""A letter on every part of the screen; the letter goes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static, Tab

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class Jump(ModalScreen[Any]):
    """Gives back the widget that was chosen, the number of a screen, or None."""

    DEFAULT_CSS = """
    Jump { background: $background 40%; }
    Jump > Static { position: absolute; width: 3; height: 1; background: $warning; color: $background; }
    """

    def __init__(self, targets: Sequence[Widget]) -> None:
        super().__init__()
        self._targets = dict(zip(LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        """The letters."""
        for letter, target in self._targets.items():
            label = Static(Text(f" {letter} ", "bold"))
            label.styles.offset = target.region.offset
            yield label

    def on_key(self, event: events.Key) -> None:
        """Go there; any other key leaves."""
        event.stop()
        if event.key.isdecimal():
            self.dismiss(int(event.key))
        else:
            self.dismiss(self._targets.get(event.key))

    def on_click(self, event: events.Click) -> None:
        """A click on a letter is as good as the letter."""
        event.stop()
        found = [
            target
            for target in self._targets.values()
            if target.region.y == event.screen_y and 0 <= event.screen_x - target.region.x < 3
        ]
        self.dismiss(found[0] if found else None)


def targets_in(pane: Widget) -> list[Widget]:
    """What one can go to in a screen, from the top: tabs, tables, fields, buttons."""
    found = [
        widget
        for widget in pane.query("*")
        if widget.is_on_screen and widget.region.area and (isinstance(widget, Tab) or widget.focusable)
    ]
    return sorted(found, key=lambda widget: (widget.region.y, widget.region.x))
