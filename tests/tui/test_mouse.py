"""Whatever keys do can be done with the mouse."""

from support import tui_boards as boards
from textual import events
from textual.widgets import Button, TabbedContent

from mas_cli.tui.app import Dashboard
from mas_cli.tui.column_window import ColumnWindow
from mas_cli.tui.dialogs import ActionDialog, ActionMenu, ReadWindow
from mas_cli.tui.widgets.line_table import LineTable


class Mouse:
    """Clicks on what stands on the screen."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    def place(self, text):
        lines = [
            "".join(part.text for part in strip) for strip in self.app.screen._compositor.render_strips()
        ]
        return next((line.index(text) + 1, y) for y, line in enumerate(lines) if text in line)

    async def click(self, text, times=1):
        await self.pilot.click(offset=self.place(text), times=times)
        await self.pilot.pause()

    async def go(self, title):
        await self.click(title)
        assert self.app.pane.title == title
        boards.fill(self.app, "sample")
        await self.pilot.pause()


async def test_everything_can_be_clicked():
    """Screens, rows, heads, tabs, hints, fields of the matrix, entries of menus and buttons; the wheel scrolls."""
    board = boards.board("sample", events=60)
    board.read_only = False
    app = Dashboard(board, None)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        mouse = Mouse(app, pilot)
        await mouse.go("Live")
        table = app.pane.table
        last = table.item
        await pilot._post_mouse_events([events.MouseScrollUp], table, (10, 10), button=0)
        await pilot.pause()
        assert table.item[0] == last[0] - 3
        await mouse.click(" pause")
        assert not app.pane.is_paused
        await mouse.click(" pause")
        assert app.pane.is_paused
        await pilot.click(table, offset=(10, 5), times=2)
        await pilot.pause()
        assert app.pane.title == "Trace"

        await mouse.go("Agents")
        await mouse.click("CAPAB")
        assert app.pane.table.sorted_by == (2, False)
        await mouse.click("rules")
        await pilot.pause(0.3)
        assert app.pane.query_one(TabbedContent).active == "agent-rules"

        await mouse.click(" actions")
        assert isinstance(app.screen, ActionMenu)
        await mouse.click("quarantine", times=2)
        assert isinstance(app.screen, ActionDialog)
        assert "mas agent quarantine sample" in mouse.app.screen.query_one("#command").visual.plain
        await pilot.click(app.screen.query_one("#no", Button))
        await pilot.pause()
        assert len(app.screen_stack) == 1

        await mouse.go("Rules")
        await mouse.click(" ~ ")
        assert app.focused.id == "matrix"
        await mouse.click(" ~ ", times=2)
        assert app.pane.query_one(TabbedContent).active == "rules-try"
        await mouse.click(" keys")
        assert isinstance(app.screen, ReadWindow)
        await pilot.press("escape", "2", "c")
        assert isinstance(app.screen, ColumnWindow)
        await pilot.click(app.screen.query_one(LineTable), offset=(4, 5), times=2)
        await pilot.pause()
        assert app.panes[1].query_one(LineTable).hidden == {4}
