"""A grid of signs with names at both sides; one field is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from mas_cli.output.colours import Style as StyleName
from mas_cli.output.safe_text import cut, display_width
from mas_cli.tui.widgets.line_table import STYLES

FIELD = 4
LONGEST_NAME = 18


class Grid(Widget, can_focus=True):
    """Rows and columns of the same kind of thing."""

    DEFAULT_CSS = "Grid { height: 1fr; }"

    class Chosen(Message):
        """Another field is chosen."""

        def __init__(self, row: str, column: str) -> None:
            super().__init__()
            self.row, self.column = row, column

    class Opened(Chosen):
        """A field was opened."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: Sequence[str] = ()
        self._columns: Sequence[str] = ()
        self._sign: Callable[[str, str], tuple[str, StyleName | None]] = lambda *_: ("", None)
        self._row = self._column = 0
        self._top = self._left = 0

    def show(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        sign: Callable[[str, str], tuple[str, StyleName | None]],
    ) -> None:
        """Show this; names are safe to show."""
        before = self.chosen
        self._rows, self._columns, self._sign = rows, columns, sign
        self._go(self._row, self._column)
        if self.chosen is not None and before is None:
            self.post_message(self.Chosen(*self.chosen))

    @property
    def chosen(self) -> tuple[str, str] | None:
        """Row and column of the chosen field."""
        if not self._rows or not self._columns:
            return None
        return self._rows[self._row], self._columns[self._column]

    @property
    def _name_width(self) -> int:
        return min(LONGEST_NAME, max((display_width(name) for name in self._rows), default=0)) + 1

    @property
    def _fields(self) -> int:
        return max(1, (self.size.width - self._name_width) // FIELD)

    def _go(self, row: int, column: int) -> None:
        before = self.chosen
        self._row = max(0, min(row, len(self._rows) - 1))
        self._column = max(0, min(column, len(self._columns) - 1))
        room = max(1, self.size.height - 2)
        self._top = min(max(self._top, self._row - room + 1), self._row)
        self._left = min(max(self._left, self._column - self._fields + 1), self._column)
        if self.chosen is not None and self.chosen != before:
            self.post_message(self.Chosen(*self.chosen))
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Arrows and their letters move."""
        moves = {
            "up": (-1, 0), "k": (-1, 0), "down": (1, 0), "j": (1, 0),
            "left": (0, -1), "h": (0, -1), "right": (0, 1), "l": (0, 1),
        }  # fmt: skip
        if event.key in moves:
            self._go(self._row + moves[event.key][0], self._column + moves[event.key][1])
        elif event.key == "enter" and self.chosen is not None:
            self.post_message(self.Opened(*self.chosen))
        else:
            return
        event.stop()
        event.prevent_default()

    def on_click(self, event: events.Click) -> None:
        """A click chooses, a second one opens."""
        self.focus()
        row = self._top + event.y - 2
        column = self._left + (event.x - self._name_width) // FIELD
        if (
            event.y >= 2
            and event.x >= self._name_width
            and row < len(self._rows)
            and column < len(self._columns)
        ):
            self._go(row, column)
            if event.chain > 1 and self.chosen is not None:
                self.post_message(self.Opened(*self.chosen))

    def render_line(self, y: int) -> Strip:
        """Two lines of heads, then a line for each row."""
        width, base = self.size.width, self.rich_style
        shown = range(self._left, min(len(self._columns), self._left + self._fields))
        name = self._name_width
        if y < 2:
            # Every other name stands on the second line, so that each has room for two fields.
            segments = [Segment(" " * name, base)]
            for place in shown:
                is_here = place % 2 == y
                if is_here:
                    text = cut(self._columns[place], 2 * FIELD - 1)
                    style = base + Style(bold=True, reverse=place == self._column and self.has_focus)
                    segments.append(Segment(text, style))
                    segments.append(Segment(" " * (2 * FIELD - display_width(text)), base))
                elif place == self._left:
                    segments.append(Segment(" " * FIELD, base))
            return Strip(segments).adjust_cell_length(width, base)
        row = self._top + y - 2
        if row >= len(self._rows):
            return Strip.blank(width, base)
        text = cut(self._rows[row], name - 1)
        is_row = row == self._row and self.has_focus
        segments = [
            Segment(text, base + Style(bold=True, reverse=is_row)),
            Segment(" " * (name - display_width(text)), base),
        ]
        for place in shown:
            sign, style_name = self._sign(self._rows[row], self._columns[place])
            style = base + (STYLES[style_name] if style_name else Style())
            if row == self._row and place == self._column:
                style += Style(reverse=True)
            segments += [Segment(f" {sign} ", style), Segment(" " * (FIELD - 3), base)]
        return Strip(segments).adjust_cell_length(width, base)
