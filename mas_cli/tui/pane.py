"""What every screen is: it shows the board, has rows that one can act on, and says what its keys do."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from rich.text import Text
from textual.containers import Vertical
from textual.widget import Widget

from mas_cli.output.columns import Column, Record, cell, value_at
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action
from mas_cli.tui.board import Board
from mas_cli.tui.row_filter import RowFilter, parse_filter
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import json_lines

if TYPE_CHECKING:
    from mas_cli.tui.app import Dashboard
    from mas_core.ops.system import System

_W = TypeVar("_W", bound=Widget)
MAX_ROWS = 500
"""Rows of a table; a live list holds more, since it has fixed columns."""


class Pane(Vertical):
    """One screen.

    A subclass says what it is called, loads what the board does not know, and draws.
    """

    title: ClassVar[str]
    about: ClassVar[str] = ""
    """One sentence for the help."""
    every: ClassVar[float] = 0.0
    """Seconds between two calls of `load` while it is seen; 0 never calls it."""
    filter_label: ClassVar[str] = "filter"
    """What is typed after the key of the filter."""
    hints: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Key names and what they do here, beyond what all screens have; the most useful first."""

    DEFAULT_CSS = "Pane { height: 1fr; }"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._parts: dict[str, Widget] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The width of the terminal is a class of the whole screen, which scoped rules cannot see.
        cls.SCOPED_CSS = False

    @property
    def dashboard(self) -> Dashboard:
        """The app, by its own type."""
        return self.app  # type: ignore[return-value]

    @property
    def board(self) -> Board:
        """What is known."""
        return self.dashboard.board

    async def load(self, system: System) -> None:
        """Fetch what only this screen needs; errors of the library are shown by the frame."""

    def draw(self) -> None:
        """Show what is known now."""

    @property
    def table(self) -> LineTable | None:
        """The table that keys act on: the one that is focused, else the first."""
        tables = list(self.query(LineTable))
        focused = self.app.focused
        return focused if focused in tables else next(iter(tables), None)

    def part(self, selector: str, kind: type[_W]) -> _W:
        """A widget of this screen; found once, so that drawing does no harm while all are being taken down."""
        found = self._parts.get(selector)
        if found is None:
            found = self._parts[selector] = self.query_one(selector)
        if not isinstance(found, kind):
            raise TypeError(f"{selector} is no {kind.__name__}")
        return found

    @property
    def home(self) -> Widget | None:
        """What has the focus when one comes here."""
        return self.table

    def actions(self) -> Sequence[Action]:
        """What can be done to the chosen rows."""
        return ()

    def chosen_items(self) -> list[Any]:
        """What actions are about: the marked rows, else the chosen one."""
        return [] if self.table is None else self.table.marked_items

    def record_of(self, item: Any) -> Record:
        """A row as its JSON reads."""
        return item if isinstance(item, Mapping) else {}

    def name_of(self, item: Any) -> str:
        """What a row is called in a question."""
        record = self.record_of(item)
        return str(record.get("id") or next(iter(record.values()), ""))

    def command_of(self, item: Any) -> tuple[str, ...]:  # noqa: ARG002 - for those who know one
        """The command that shows a row, without `mas`."""
        return ()

    def open(self, item: Any) -> None:
        """Enter on a row."""

    def as_json(self) -> tuple[str, Text] | None:
        """What `v` shows: a title, and the chosen row as JSON."""
        table = self.table
        if table is None or table.item is None:
            return None
        return self.name_of(table.item), json_lines(self.record_of(table.item))

    def crumbs(self) -> list[str]:
        """Where one is, below the screen's name."""
        table = self.table
        return [self.name_of(table.item)] if table is not None and table.item is not None else []

    def go_to(self, name: str) -> bool:
        """Choose the row of this name, even where a filter hides it; whether it is there."""
        return bool(self.table is not None and self.table.choose(name))

    def is_problem(self, item: Any) -> bool:  # noqa: ARG002 - for those who can tell
        """Whether `problem.next` stops at a row."""
        return False

    def toggle_pause(self) -> None:
        """Hold the picture or let it go on, where it moves by itself."""

    def toggle_group(self) -> bool:
        """Group the rows or stop that; whether this screen can."""
        return False

    def move_time(self, seconds: int) -> None:
        """Go back or on in time, where a screen can."""

    due: float = 0.0
    """When to load next, by the monotonic clock."""

    # The filter

    row_filter: RowFilter = RowFilter()
    last_filter: str = ""
    """What was filtered by before, for when the filter is opened again."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names that the filter knows here."""
        return ()

    def begin_typing(self) -> None:
        """Go to what is typed in on a screen that has no filter."""

    def set_filter(self, text: str) -> None:
        """Filter by this.

        Raises:
            UsageError: It cannot be understood.
        """
        self.row_filter = parse_filter(text, self.fields)
        if text:
            self.last_filter = text
        self.draw()


def layouts_of(columns: Sequence[Column]) -> list[Layout]:
    """Columns as a table lays them out."""
    return [
        Layout(
            column.title,
            column.kind in ("number", "duration"),
            column.flexible,
            column.whole or column.kind != "text",
        )
        for column in columns
    ]


def cells_of(record: Record, columns: Sequence[Column]) -> list[Cell]:
    """A record as a row under these columns."""
    found = []
    for column in columns:
        value = value_at(record, column.key)
        style = column.style(value) if column.style is not None else None
        found.append(Cell(safe_text(cell(value, column.kind), 200), style))
    return found


class TablePane(Pane):
    """A screen of records in a table, which can be filtered and sorted."""

    columns: ClassVar[tuple[Column, ...]]
    empty: ClassVar[str] = "nothing is here"
    key_field: ClassVar[str] = "id"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.records: list[Record] = []
        """All rows, unfiltered."""
        self.shown_count = 0
        self._order: tuple[int, bool] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(column.key for column in self.columns)

    def layouts(self) -> list[Layout]:
        """The columns as a table lays them out."""
        return layouts_of(self.columns)

    def draw_table(self, table: LineTable) -> None:
        """Show the records that the filter lets through, in order."""
        found: Iterable[Record] = self.records
        if self.row_filter:
            found = [record for record in self.records if self.row_filter.matches(_getter(record))]
        rows = list(found)
        if self._order is not None:
            column, is_reversed = self._order
            rows.sort(
                key=lambda record: _sortable(value_at(record, self.columns[column].key)), reverse=is_reversed
            )
        self.shown_count = len(rows)
        table.sorted_by = self._order
        table.show(
            Rows(self.arranged(rows[:MAX_ROWS]), self.key_of, self.cells),
            words=self.row_filter.words,
        )

    def arranged(self, rows: list[Record]) -> list[Record]:
        """The rows as they are shown; a screen may put heads between them."""
        return rows

    def key_of(self, record: Record) -> Hashable:
        """What tells a row from others."""
        key: Hashable = record.get(self.key_field)
        return key

    def cells(self, record: Record) -> list[Cell]:
        """One row."""
        return cells_of(record, self.columns)

    def sort_by(self, column: int) -> None:
        """Sort by a column; by the same again turns it round, a third time gives the own order back."""
        if self._order is None or self._order[0] != column:
            self._order = (column, False)
        else:
            self._order = (column, True) if not self._order[1] else None
        self.draw()

    def sort_next(self) -> None:
        """Sort by the next column."""
        place = -1 if self._order is None else self._order[0]
        self._order = (place + 1, False) if place + 1 < len(self.columns) else None
        self.draw()

    def go_to(self, name: str) -> bool:
        """Choose a row; a filter that hides it is taken away."""
        if super().go_to(name):
            return True
        if self.row_filter and any(record.get(self.key_field) == name for record in self.records):
            self.set_filter("")
            return super().go_to(name)
        return False


def _getter(record: Record) -> Callable[[str], object]:
    return lambda name: value_at(record, name)


def _sortable(value: object) -> tuple[int, Any]:
    match value:
        case None:
            return (2, "")
        case bool() | int() | float():
            return (0, value)
        case _:
            return (1, str(value).casefold())
