"""Whatever a sender can choose is shown as text: no markup, no control character, no end of the program."""

import re

import pytest
from support import tui_boards as boards
from textual.widgets import TabbedContent

from mas_cli.output.safe_text import INVISIBLE
from mas_cli.tui.app import Dashboard
from mas_cli.tui.dialogs import ReadWindow

CLICK = "[@click=app.quit]x[/]"
HOSTILE = {
    "mixed": f"{CLICK}[blink on #123456][link=https://evil.example]y[/oops][bold\x1b[31m\x1b]0;owned\x07"
    "\x1b]8;;https://evil.example\x07z\x1b]52;c;eA==\x07\x9b5m\x90q\x9c"
    "a\u202egnp\u200b\u2066b\u2069\ufeff\U000e0041\r\n\t\x00\x7f\x85\u2028\ud800",
    "long": f"\x1b[7m{CLICK}" * 4_000,
    "wide": "\u0301" * 300 + "\u1100\U0001f468\u200d\U0001f469" * 200,
}
RAW = re.compile(f"[\x00-\x1f{INVISIBLE}]")


def strips(app):
    """Every strip of the screen, from its widgets to the compositor."""
    return [strip for strip in app.screen._compositor.render_strips() if strip]


def check(app):
    """Nothing on the screen is more than text, and none of it is wider than the screen."""
    for strip in strips(app):
        assert strip.cell_length <= app.size.width
        for segment in strip:
            style = segment.style
            assert not RAW.search(segment.text), (app.pane, segment.text)
            assert style is None or not (style.blink or style.link)
            assert style is None or "@click" not in style.meta
            assert style is None or style.bgcolor is None or style.bgcolor.name != "#123456"
    assert app.is_running
    assert app._exception is None


async def draw(app, pilot, text):
    boards.fill(app, text)
    await pilot.pause()
    app.draw()
    await pilot.pause()
    check(app)


@pytest.mark.parametrize(
    ("kind", "size"), [("mixed", (80, 24)), ("mixed", (120, 40)), ("wide", (80, 24)), ("long", (120, 40))]
)
async def test_s28_no_screen_reads_what_it_shows(kind, size):
    """Every field of every screen, its tabs, its JSON, its filter and its menu."""
    text = HOSTILE[kind]
    app = Dashboard(boards.board(text), None)
    async with app.run_test(size=size, notifications=True) as pilot:
        for number in range(1, len(app.panes) + 1):
            app.action_screen(number)
            await pilot.pause()
            await draw(app, pilot, text)
            for tabs in app.pane.query(TabbedContent):
                for tab in [pane.id for pane in tabs.query("TabPane")]:
                    tabs.active = tab
                    await pilot.pause()
                    await draw(app, pilot, text)
            for keys in ("w", "v", "escape", "a", "escape", "slash", "escape", "escape"):
                await pilot.press(keys)
                check(app)
            assert len(app.screen_stack) == 1


@pytest.mark.parametrize(("kind", "size"), [("mixed", (80, 24)), ("long", (120, 40))])
async def test_s28_no_window_reads_what_it_shows(kind, size):
    """Help, the palette, jumps to a row of that name, the question before every action, and what it answers."""
    text = HOSTILE[kind]
    app = Dashboard(boards.board(text), None)
    async with app.run_test(size=size, notifications=True) as pilot:
        for keys in ("question_mark", "escape", "colon"):
            await pilot.press(keys)
            check(app)
        app.screen.query_one("Input").value = text
        await pilot.pause()
        check(app)
        await pilot.press("enter")
        check(app)
        for number, pane in enumerate(app.panes, 1):
            app.action_screen(number)
            await pilot.pause()
            await draw(app, pilot, text)
            if not pane.chosen_items():
                await pilot.press("tab")
            items = pane.chosen_items()
            records, names = [pane.record_of(item) for item in items], [pane.name_of(item) for item in items]
            for action in pane.actions():
                if all(map(action.applies, records)):
                    app.ask(action, records or [{}], names or [text])
                    await pilot.pause()
                    for field in app.screen.query("Input"):
                        field.value = text
                    for field in app.screen.query("TextArea"):
                        field.text = text[:2_000]
                    await pilot.pause()
                    check(app)
                    await pilot.press("escape")
            app.go(pane.title, text)
            await pilot.pause()
            check(app)


async def test_s28_a_click_on_hostile_text_does_nothing():
    """What looks like a link to leave is not one, wherever it is clicked."""
    app = Dashboard(boards.board(CLICK), None)
    async with app.run_test(size=(120, 40)) as pilot:
        for number in range(1, len(app.panes) + 1):
            app.action_screen(number)
            await pilot.pause()
            await draw(app, pilot, CLICK)
            lines = ["".join(segment.text for segment in strip) for strip in strips(app)]
            places = [(line.index(CLICK), y) for y, line in enumerate(lines) if CLICK in line]
            assert places, app.pane.title
            for x, y in places:
                await pilot.click(offset=(x + 2, y))
                if isinstance(app.screen, ReadWindow):
                    await pilot.press("escape")
            assert app.is_running
            assert app.return_value is None
