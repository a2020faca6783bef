"""What keys do to the rows of the screen that is seen."""

from __future__ import annotations

import math
import shlex
from typing import Any

from textual.app import App
from textual.widget import Widget
from textual.widgets import Tab

from mas_cli.output.safe_text import safe_text
from mas_cli.tui.board import Board
from mas_cli.tui.column_window import ColumnWindow
from mas_cli.tui.dialogs import ReadWindow
from mas_cli.tui.jump import Jump, targets_in
from mas_cli.tui.pane import Pane, TablePane
from mas_cli.tui.widgets.prose import Prose


class RowKeys(App[None]):
    """The part of the dashboard that moves in tables, marks, sorts, finds and copies."""

    board: Board

    @property
    def pane(self) -> Pane:
        """The screen that is seen."""
        raise NotImplementedError

    def mark_dirty(self) -> None:
        """Something is new; the next frame shows it."""
        raise NotImplementedError

    def action_screen(self, number: int) -> None:
        """Go to a screen."""
        raise NotImplementedError

    def action_pause(self) -> None:
        """Hold the picture, not what comes; of a recording, the clock."""
        if self.board.replay is not None:
            self.board.replay.toggle()
            return
        self.pane.toggle_pause()
        self.mark_dirty()

    def action_go_end(self) -> None:
        """To the newest row, and on with it."""
        if self.pane.table is not None:
            self.pane.table.go_end()

    def action_open_row(self) -> None:
        """Open the chosen row."""
        table = self.pane.table
        if table is not None and table.item is not None:
            self.pane.open(table.item)

    def action_mark(self) -> None:
        """Mark the chosen row."""
        if self.pane.table is not None:
            self.pane.table.toggle_mark()

    def action_mark_all(self) -> None:
        """Mark all rows that are shown."""
        if self.pane.table is not None:
            self.pane.table.toggle_all_marks()

    def action_sort(self) -> None:
        """Sort by the next column."""
        if isinstance(self.pane, TablePane):
            self.pane.sort_next()

    def action_find(self, step: int) -> None:
        """Next row that holds a word of the filter."""
        table, pane = self.pane.table, self.pane
        if table is not None and not table.find(
            lambda item: bool(pane.row_filter) and _holds(pane, item), step
        ):
            self.bell()

    def action_problem(self, step: int) -> None:
        """Next row that tells of something wrong."""
        table = self.pane.table
        if table is not None and not table.find(self.pane.is_problem, step):
            self.bell()

    def action_time(self, seconds: int) -> None:
        """Move in time, where a screen can; a recording moves by lines and minutes."""
        if (replay := self.board.replay) is not None:
            replay.is_playing = False
            if abs(seconds) > 60:
                replay.seek(math.copysign(60_000, seconds))
            else:
                replay.step(1 if seconds > 0 else -1)
            return
        self.pane.move_time(seconds)
        self.mark_dirty()

    def action_speed(self) -> None:
        """Play a recording faster, or at its own speed again."""
        if self.board.replay is not None:
            self.board.replay.next_speed()

    def action_wide(self) -> None:
        """Cut nothing and scroll sideways, or fit the width again."""
        if self.pane.table is not None:
            self.pane.table.is_wide = not self.pane.table.is_wide
            self.pane.table.lay_out(self.pane.table.layouts)

    def action_zoom(self) -> None:
        """One pane over the whole screen, or back."""
        if self.screen.maximized is None and self.focused is not None:
            self.screen.maximize(self.focused)
        else:
            self.screen.minimize()

    def action_wrap(self) -> None:
        """Cut long lines of what is read, or let them go on below."""
        for prose in self.pane.query(Prose):
            prose.toggle_wrap()

    def action_columns(self) -> None:
        """Which columns are shown."""
        if self.pane.table is not None:
            self.push_screen(ColumnWindow(self.pane.table))

    def action_group(self) -> None:
        """Group the rows, where a screen can; else go to the first."""
        if not self.pane.toggle_group() and self.pane.table is not None:
            self.pane.table.go_start()
        self.mark_dirty()

    def action_jump(self) -> None:
        """A letter on every part of the screen."""

        def chosen(target: Widget | int | None) -> None:
            if isinstance(target, int):
                self.action_screen(target)
            elif isinstance(target, Tab):
                target.post_message(Tab.Clicked(target))
            elif target is not None:
                target.focus()

        self.push_screen(Jump(targets_in(self.pane)), chosen)

    def action_copy(self) -> None:
        """Copy what the chosen row is called."""
        table = self.pane.table
        if table is not None and table.item is not None:
            self._copy(self.pane.name_of(table.item))

    def action_copy_command(self) -> None:
        """Copy the command that shows the chosen row, or the last one that was done."""
        table = self.pane.table
        words = self.pane.command_of(table.item) if table is not None and table.item is not None else ()
        if words:
            self._copy(shlex.join(["mas", *words]))
        elif self.board.commands:
            self._copy(self.board.commands[-1])

    def _copy(self, text: str) -> None:
        shown = safe_text(text)
        self.copy_to_clipboard(shown)
        self.notify(f"copied {shown[:200]}", markup=False)

    def action_json(self) -> None:
        """The chosen row as JSON."""
        found = self.pane.as_json()
        if found is not None:
            self.push_screen(ReadWindow(safe_text(found[0], 70), found[1]))


def _holds(pane: Pane, item: Any) -> bool:
    text = " ".join(map(str, pane.record_of(item).values())).casefold()
    return any(word.casefold() in text for word in pane.row_filter.words)
