"""Which columns of a table are shown."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.dialogs import Window
from mas_cli.tui.widgets.line_table import LineTable, Rows


class ColumnWindow(Window):
    """The columns of one table, to show and to hide."""

    def __init__(self, table: LineTable) -> None:
        super().__init__()
        self._table = table

    def compose(self) -> ComposeResult:
        """The list."""
        with Vertical():
            yield Static("enter shows and hides a column, esc closes\n", markup=False)
            yield LineTable([Layout("column", flexible=True), Layout("shown")])

    def on_mount(self) -> None:
        """Fill it."""
        own = self.query_one(LineTable)
        own.styles.height = min(18, len(self._table.layouts) + 2)
        own.focus()
        self._show()

    def _show(self) -> None:
        self.query_one(LineTable).show(
            Rows(
                range(len(self._table.layouts)),
                lambda place: place,
                lambda place: [
                    Cell(self._table.layouts[place].title),
                    Cell("-", "dim") if place in self._table.hidden else Cell("shown", "good"),
                ],
            )
        )

    @on(LineTable.Opened)
    def _toggled(self, event: LineTable.Opened) -> None:
        self._table.toggle_column(event.item)
        self._show()
