"""Keys that change how a screen is looked at, and plain signs; on a board without a system."""

from support import tui_boards as boards
from textual import events
from textual.keys import _character_to_key as character_to_key
from textual.widgets import Input, TabbedContent

from mas_cli.tui.app import Dashboard
from mas_cli.tui.jump import Jump
from mas_core.errors import GatewayDown


def text_of(app):
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line) for line in strips)


async def go(app, pilot, title):
    app.go(title)
    await pilot.pause()
    boards.fill(app, "sample")
    await pilot.pause()


async def test_views_are_changed_by_keys():
    """`c` hides columns, `w` and `W` cut nothing, `z` fills the screen, `-` goes back, `y` and `Y` copy."""
    app = Dashboard(boards.board("sample"), None)
    copied = []
    app.copy_to_clipboard = copied.append
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await go(app, pilot, "Live")
        table = app.pane.table
        await pilot.press("c", "down", "enter", "escape")
        await pilot.pause()
        assert table.hidden == {1}
        assert "FROM" not in text_of(app)
        await pilot.press("c", "down", "enter", "escape", "w")
        assert (table.hidden, table.is_wide) == (set(), True)

        await pilot.press("y", "Y")
        assert copied == ["sample", "mas trace sample"]

        await pilot.press("z")
        assert app.screen.maximized is table
        await pilot.press("z", "v")
        assert '"decision": "sample"' in text_of(app)
        await pilot.press("escape", "3", "minus")
        assert app.pane.title == "Live"

        await go(app, pilot, "Audit")
        body = app.pane.query_one("#record")._body
        await pilot.press("W")
        assert body.styles.text_wrap == "nowrap"


async def test_a_letter_leads_to_every_part_of_the_screen():
    """Tabs, tables and fields; a number leads to a screen, a click on the letter does the same."""
    app = Dashboard(boards.board("sample"), None)
    async with app.run_test(size=(120, 40)) as pilot:
        await go(app, pilot, "Rules")
        await pilot.press("space")
        assert isinstance(app.screen, Jump)
        targets = app.screen._targets
        letters = {str(getattr(target, "label", target.id)): letter for letter, target in targets.items()}
        await pilot.press(letters["try it"])
        await pilot.pause()
        assert app.pane.query_one(TabbedContent).active == "rules-try"

        await pilot.press("space")
        await pilot.pause()
        (place,) = [target.region for target in app.screen._targets.values() if target.id == "try-to"]
        await pilot.click(offset=(place.x, place.y))
        await pilot.pause()
        assert isinstance(app.focused, Input)
        assert app.focused.id == "try-to"

        await pilot.press("tab", "tab", "tab", "space")
        await pilot.press("4")
        assert app.pane.title == "Queues"


async def test_plain_signs_are_all_that_is_drawn(monkeypatch):
    """MAS_TUI_ASCII=1: screens, tabs, windows, traces and toasts."""
    monkeypatch.setenv("MAS_TUI_ASCII", "1")
    app = Dashboard(boards.board("sample", protected=True), None)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        for pane in app.panes:
            await go(app, pilot, pane.title)
            assert text_of(app).isascii(), text_of(app)
            for tabs in pane.query(TabbedContent):
                tabs.active = tabs.query("TabPane").last().id
                await pilot.pause()
                assert text_of(app).isascii(), text_of(app)
        app.notify("done ✓", markup=False)
        await pilot.pause(0.1)
        assert "done +" in text_of(app)
        for window in (app.action_row_actions, app.action_help, app.action_palette, app.action_jump):
            window()
            await pilot.pause()
            assert text_of(app).isascii(), text_of(app)
            app.pop_screen()


async def test_keys_that_come_at_once_mean_what_they_would_one_by_one():
    """What is typed after `/` belongs to the filter, even where all of it comes in one burst; so after `:`."""
    app = Dashboard(boards.board("sample"), None)
    async with app.run_test(size=(120, 40)) as pilot:
        for key in "6/a:q1":
            app.post_message(events.Key(character_to_key(key), key))
        await pilot.pause(0.2)
        assert (app.pane.title, app._filter.value, app.is_running) == ("Rules", "a:q1", True)
        await pilot.press("escape", "escape")
        for key in ":live":
            app.post_message(events.Key(character_to_key(key), key))
        await pilot.pause(0.2)
        await pilot.press("enter")
        assert app.pane.title == "Live"


async def test_the_same_complaint_is_made_once_while_it_is_seen():
    """A screen that looks again and again fills the terminal with nothing."""
    app = Dashboard(boards.board("sample"), None)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        for _ in range(3):
            app.complain(GatewayDown("nobody takes messages", hint=("mas up", "mas gateway run")))
        await pilot.pause(0.1)
        (said,) = app._notifications
        assert said.message == "nobody takes messages\ntry  mas up\ntry  mas gateway run"
