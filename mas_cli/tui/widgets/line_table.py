"""A table of lines that draws only what is seen, keeps its place by key, and never reads text as markup.

Rows are handed over as they are; cells are made when their line is drawn. So ten thousand rows that change
ten times a second cost what the visible ones cost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from mas_cli.output.safe_text import cut, display_width
from mas_cli.output.tables import Cell, Layout, fitted
from mas_cli.tui.widgets.highlights import highlighted

GAP = 2
STYLES: dict[str, Style] = {
    "bold": Style(bold=True),
    "dim": Style(dim=True),
    "good": Style(color="green"),
    "warn": Style(color="yellow"),
    "bad": Style(color="red", bold=True),
    "name": Style(color="cyan"),
}
PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Rows:
    """What a table shows.

    Args:
        items: In the order of the lines.
        key: What tells an item from others for as long as it is there.
        cells: The cells of one item; their text is safe to show.
    """

    items: Sequence[Any]
    key: Callable[[Any], Hashable]
    cells: Callable[[Any], Sequence[Cell]]


NOTHING = Rows((), id, lambda _: ())


class LineTable(Widget, can_focus=True):
    """A table with one row chosen.

    Args:
        layouts: Columns.
        follows: New rows come at the end, and the end is kept in sight until somebody scrolls up.
        empty: What stands there while there are no rows, in lines that are safe to show.
    """

    DEFAULT_CSS = "LineTable { height: 1fr; }"

    class Chosen(Message):
        """Another row is chosen; `item` is None when there is none."""

        def __init__(self, table: LineTable, item: Any) -> None:
            super().__init__()
            self.table, self.item = table, item

        @property
        def control(self) -> LineTable:
            """The table."""
            return self.table

    class Opened(Chosen):
        """A row was opened: enter, or a second click."""

    class Headed(Message):
        """A column's head was clicked."""

        def __init__(self, table: LineTable, column: int) -> None:
            super().__init__()
            self.table, self.column = table, column

    class Topped(Message):
        """Somebody wants to go further up than the first row."""

        def __init__(self, table: LineTable) -> None:
            super().__init__()
            self.table = table

    follows_end: reactive[bool] = reactive(default=False)

    def __init__(
        self, layouts: Sequence[Layout], *, follows: bool = False, empty: str = "", id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.layouts = tuple(layouts)
        self.rows = NOTHING
        self.words: tuple[str, ...] = ()
        """What is highlighted."""
        self.marked: set[Hashable] = set()
        self.sorted_by: tuple[int, bool] | None = None
        """Column and whether it is upside down; shown in its head."""
        self.hidden: set[int] = set()
        """Places of columns that are not shown."""
        self.follows = follows
        self.set_reactive(LineTable.follows_end, follows)
        self.empty = empty
        self._chosen = 0
        self._chosen_key: Hashable = None
        self._top = 0
        self._left = 0
        self._natural: list[int] = []
        self._widths: list[int] = []
        self.is_wide = False
        """Whether nothing is cut, and the table scrolls sideways instead."""

    # What it shows

    def show(self, rows: Rows, *, words: tuple[str, ...] = ()) -> None:
        """Show these rows; the chosen row stays chosen while it is there."""
        self.rows, self.words = rows, words
        if self.follows_end:
            self._chosen = max(0, len(rows.items) - 1)
        elif self._chosen_key is not None:
            self._chosen = self._place_of(self._chosen_key)
        self._settle()
        self.refresh()

    def lay_out(self, layouts: Sequence[Layout]) -> None:
        """Change the columns."""
        self.layouts = tuple(layouts)
        self._widths, self._natural = [], []
        self.refresh()

    def toggle_column(self, place: int) -> None:
        """Hide a column, or show it again; one always stays."""
        changed = self.hidden ^ {place}
        if len(changed) < len(self.layouts):
            self.hidden = changed
        self.lay_out(self.layouts)

    @property
    def item(self) -> Any:
        """The chosen item, or None."""
        items = self.rows.items
        return items[self._chosen] if 0 <= self._chosen < len(items) else None

    @property
    def marked_items(self) -> list[Any]:
        """Items that are marked and still there, else the chosen one."""
        found = [item for item in self.rows.items if self.rows.key(item) in self.marked]
        return found or ([] if self.item is None else [self.item])

    def choose(self, key: Hashable) -> bool:
        """Choose the row of this key, if it is there."""
        for place, item in enumerate(self.rows.items):
            if self.rows.key(item) == key:
                self._go(place)
                return True
        return False

    def choose_place(self, place: int) -> None:
        """Choose the row at a place, and follow the end no more."""
        self._go(place)
        self.follows_end = False

    def _place_of(self, key: Hashable) -> int:
        items = self.rows.items
        if self._chosen < len(items) and self.rows.key(items[self._chosen]) == key:
            return self._chosen
        # Rows mostly move a little, so the neighbourhood is looked through first.
        for place in range(min(self._chosen, len(items) - 1), -1, -1):
            if self.rows.key(items[place]) == key:
                return place
        for place in range(self._chosen, len(items)):
            if self.rows.key(items[place]) == key:
                return place
        return min(self._chosen, max(0, len(items) - 1))

    # Moving

    @property
    def _page(self) -> int:
        return max(1, self.size.height - 1)

    def _settle(self) -> None:
        count = len(self.rows.items)
        before = self._chosen_key
        self._chosen = min(max(0, self._chosen), max(0, count - 1))
        self._top = min(self._top, max(0, count - self._page))
        if self._chosen < self._top:
            self._top = self._chosen
        elif self._chosen >= self._top + self._page:
            self._top = self._chosen - self._page + 1
        item = self.item
        self._chosen_key = None if item is None else self.rows.key(item)
        if self._chosen_key != before:
            self.post_message(self.Chosen(self, item))

    def _go(self, place: int) -> None:
        count = len(self.rows.items)
        self._chosen = min(max(0, place), max(0, count - 1))
        if self.follows:
            self.follows_end = self._chosen >= count - 1
        self._settle()
        self.refresh()

    def move(self, lines: int) -> None:
        """Choose the row so many lines further down."""
        if lines < 0 and self._chosen == 0 and self.rows.items:
            self.post_message(self.Topped(self))
        self._go(self._chosen + lines)

    def go_start(self) -> None:
        """Choose the first row."""
        self._go(0)

    def go_end(self) -> None:
        """Choose the last row, and follow what comes if this table does."""
        self._go(len(self.rows.items) - 1)

    def find(self, wanted: Callable[[Any], bool], step: int) -> bool:
        """Choose the next row, in this direction, that is wanted."""
        place = self._chosen + step
        while 0 <= place < len(self.rows.items):
            if wanted(self.rows.items[place]):
                self._go(place)
                return True
            place += step
        return False

    def toggle_mark(self) -> None:
        """Mark the chosen row, or take its mark away, and go to the next."""
        if self._chosen_key is not None:
            self.marked ^= {self._chosen_key}
            self.move(1)

    def toggle_all_marks(self) -> None:
        """Mark all rows that are shown, or none."""
        every = {self.rows.key(item) for item in self.rows.items}
        self.marked = set() if self.marked >= every else every
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Arrows and their letters move."""
        moves = {
            "up": -1, "k": -1, "down": 1, "j": 1, "pageup": -self._page, "pagedown": self._page,
            "ctrl+u": -self._page // 2, "ctrl+d": self._page // 2,
        }  # fmt: skip
        if event.key in moves:
            self.move(moves[event.key])
        elif event.key == "home":
            self.go_start()
        elif event.key in ("end", "G"):
            self.go_end()
        elif event.key in ("left", "h"):
            self._left = max(0, self._left - 8)
        elif event.key in ("right", "l"):
            self._left += 8
        elif event.key == "enter":
            if self.item is not None:
                self.post_message(self.Opened(self, self.item))
        else:
            return
        event.stop()
        event.prevent_default()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A click chooses, a second one opens; one on a head sorts."""
        self.focus()
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.Headed(self, column))
            return
        place = self._top + event.y - 1
        if place >= len(self.rows.items):
            return
        was_chosen = place == self._chosen
        self._go(place)
        if was_chosen and event.chain > 1:
            self.post_message(self.Opened(self, self.item))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel moves three lines."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel moves three lines."""
        event.stop()
        self.move(-3)

    def on_resize(self) -> None:
        """Widths are counted anew."""
        self._widths = []
        self._settle()

    def _column_at(self, x: int) -> int | None:
        edge = 2 - self._left
        for place, width in enumerate(self._widths):
            edge += (width + GAP) * (place not in self.hidden)
            if x < edge:
                return place
        return None

    # Drawing

    def render_line(self, y: int) -> Strip:
        """One line: the heads, or a row."""
        width = self.size.width
        base = self.rich_style
        if y == 0:
            self._fit(width)
            return self._line([Cell(text, "bold") for text in self._titles()], "  ", base, width)
        place = self._top + y - 1
        items = self.rows.items
        if place >= len(items):
            told = self.empty.splitlines()
            if not items and 2 <= y < 2 + len(told):
                line = Segment(cut(f"  {told[y - 2]}", width), base + STYLES["dim"])
                return Strip([line]).adjust_cell_length(width, base)
            return Strip.blank(width, base)
        item = items[place]
        is_chosen = place == self._chosen
        is_marked = self.rows.key(item) in self.marked
        sign = ("▸" if is_chosen else " ") + ("•" if is_marked else " ")
        if is_chosen and self.has_focus:
            # One colour for the whole line: reversed cells of many colours are hard to read.
            plain = [
                Cell(cell.text, "bold" if cell.style == "bad" else None) for cell in self.rows.cells(item)
            ]
            return self._line(plain, sign, base + Style(reverse=True), width)
        return self._line(self.rows.cells(item), sign, base + Style(bold=is_chosen), width)

    def _titles(self) -> list[str]:
        found = [layout.title for layout in self.layouts]
        if self.sorted_by is not None and self.sorted_by[0] < len(found):
            column, is_reversed = self.sorted_by
            found[column] += " ▾" if is_reversed else " ▴"
        return found

    def _fit(self, width: int) -> None:
        """Columns grow with what comes into sight and do not shrink, so that nothing jumps."""
        needed = [
            max(layout.least, display_width(title))
            for layout, title in zip(self.layouts, self._titles(), strict=True)
        ]
        for item in self.rows.items[self._top : self._top + self._page]:
            for place, cell in enumerate(self.rows.cells(item)):
                if not self.layouts[place].fixed:
                    needed[place] = max(needed[place], display_width(cell.text))
        if self._natural and len(self._natural) == len(needed):
            needed = [max(pair) for pair in zip(needed, self._natural, strict=True)]
        self._natural = needed
        give_way = [2 * layout.flexible - layout.whole for layout in self.layouts]
        shown = [place for place in range(len(needed)) if place not in self.hidden]
        if not self.is_wide:
            rooms = fitted(
                [needed[place] for place in shown], [give_way[place] for place in shown], width - 2
            )
            needed = [0] * len(needed)
            for place, room in zip(shown, rooms, strict=True):
                needed[place] = room
        self._widths = needed
        spare = max(0, sum(needed[place] for place in shown) + GAP * (len(shown) - 1) + 2 - width)
        self._left = min(self._left, spare)

    def _line(self, cells: Sequence[Cell], sign: str, style: Style, width: int) -> Strip:
        segments = [Segment(sign, style)]
        last = len(cells) - 1
        for place, (cell, room) in enumerate(zip(cells, self._widths, strict=False)):
            if place in self.hidden:
                continue
            text = cut(cell.text, room)
            pad = " " * (room - display_width(text))
            painted = style + STYLES.get(cell.style or "", PLAIN)
            if self.layouts[place].right:
                segments += [Segment(pad, style), *highlighted(text, painted, self.words)]
            else:
                segments += [*highlighted(text, painted, self.words), Segment(pad, style)]
            if place < last:
                segments.append(Segment(" " * GAP, style))
        strip = Strip(segments)
        if self._left:
            strip = strip.crop(self._left, self._left + width)
        return strip.adjust_cell_length(width, style)
