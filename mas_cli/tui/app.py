"""The dashboard: a frame around nine screens. It draws at most ten times a second, whatever comes in."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.filter import LineFilter
from textual.screen import ModalScreen
from textual.widgets import ContentSwitcher, Input, TextArea

from mas_cli.output.safe_text import safe_text
from mas_cli.tui.acting import Acting
from mas_cli.tui.ascii_filter import AsciiFilter
from mas_cli.tui.board import Board
from mas_cli.tui.dialogs import Palette, ReadWindow
from mas_cli.tui.feed import Feed
from mas_cli.tui.frame_style import FRAME_CSS
from mas_cli.tui.frame_text import crumbs, hints, time_line, top_line
from mas_cli.tui.key_table import KEYS, MOVING, action_name, action_of, bindings, keymap, shown_key
from mas_cli.tui.pane import Pane, TablePane
from mas_cli.tui.replay import Replay
from mas_cli.tui.screens import PANES
from mas_cli.tui.widgets.bars import Bar, KeyBar, TabBar
from mas_cli.tui.widgets.line_table import LineTable
from mas_cli.tui.widgets.typed_line import TypedLine
from mas_core.errors import MasError, UsageError

if TYPE_CHECKING:
    from mas_core.ops.system import System

FRAMES_A_SECOND: Final = 10
UNSEEN_FRAMES_A_SECOND: Final = 4


class Dashboard(Acting):
    """All screens and what they have in common.

    Args:
        board: Where the feed puts what it learns.
        system: The system; None for a replay, or until it is open.
        feed: Brings the news; a `Feed` of the system when left out.
        first: Number of the screen to begin with.
        keys: `tui.keys` of mas.yaml.
        opening: Opens the system once the first frame is drawn, in place of `system`.

    Raises:
        ConfigurationError: `keys` gives a key two meanings, or names what there is not.
    """

    TITLE = "mas"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Any]] = [*bindings()]
    # Textual declares these two as what an object may change.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-tall")]  # noqa: RUF012
    CSS = FRAME_CSS

    def __init__(
        self,
        board: Board,
        system: System | None,
        *,
        feed: Feed | Replay | None = None,
        first: int = 1,
        keys: Mapping[str, str] | None = None,
        opening: Callable[[], Awaitable[System]] | None = None,
    ) -> None:
        self.is_ascii = os.environ.get("MAS_TUI_ASCII", "") not in ("", "0")
        super().__init__(ansi_color=None)
        self.keys = dict(keys or {})
        self._keymap = keymap(self.keys)
        self.board = board
        self.system = system
        self.opening_error: MasError | None = None
        """Why the system could not be opened, so that the dashboard ended."""
        self._opening = opening
        self._feed = feed
        self._first = first
        self._current = first
        self._before = first
        self._is_dirty = True
        self._frames = 0
        self._is_quitting = 0.0
        self._filter_problem = ""
        self.panes: list[Pane] = [kind(id=f"screen-{number}") for number, kind in enumerate(PANES, 1)]
        self._top, self._crumbs_bar = Bar(id="top"), Bar(id="crumbs")
        self._command, self._hints_bar = Bar(id="command"), KeyBar(id="hints")
        self._tabs = TabBar([pane.title for pane in self.panes], ascii_only=self.is_ascii, id="tabs")
        self._screens = ContentSwitcher(initial=f"screen-{first}")
        self._filter_line, self._filter_name = Horizontal(id="filter-line"), Bar(id="filter-name")
        self._filter = TypedLine(id="filter")
        self._time_bar = Bar(id="time")

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is done to each line before it is drawn."""
        found = super().get_line_filters()
        return [*found, AsciiFilter()] if self.is_ascii else found

    def compose(self) -> ComposeResult:
        """The frame."""
        yield self._top
        yield self._tabs
        with self._screens:
            yield from self.panes
        with self._filter_line:
            yield self._filter_name
            yield self._filter
        if self.board.replay is not None:
            yield self._time_bar
        yield self._crumbs_bar
        yield self._command
        yield self._hints_bar

    def on_mount(self) -> None:
        """Start the feed and the clock of frames."""
        self.set_keymap(self._keymap)
        self._filter_name.say(Text("  filter "))
        self.set_class(self.is_ascii, "-ascii")
        if self.board.replay is not None:
            self.board.replay.changed = self.mark_dirty
            for table in self.query(LineTable):
                if table.id not in ("problems", "pairs") and table.follows is False:
                    table.empty = "a recording does not hold this"
        self.action_screen(self._first)
        self.set_interval(1 / FRAMES_A_SECOND, self._frame)
        if self.system is not None or self._feed is not None:
            self._run_feed()
        if self._opening is not None:
            self.call_after_refresh(self._open, self._opening)
        self.set_interval(0.25, self._load_when_due)

    @work(exclusive=True, group="open")
    async def _open(self, opening: Callable[[], Awaitable[System]]) -> None:
        try:
            self.system = await opening()
        except MasError as error:
            self.opening_error = error
            self.exit()
        else:
            self._run_feed()
            self.reload()

    @work(exclusive=True, group="feed")
    async def _run_feed(self) -> None:
        feed = self._feed
        if feed is None and self.system is not None:
            feed = Feed(self.board, self.system, self.mark_dirty)
        if feed is not None:
            await feed.run()

    # Drawing

    @property
    def pane(self) -> Pane:
        """The screen that is seen."""
        return self.panes[self._current - 1]

    def mark_dirty(self) -> None:
        """Something is new; the next frame shows it."""
        self._is_dirty = True

    def _frame(self) -> None:
        self._frames += 1
        slowly = FRAMES_A_SECOND // UNSEEN_FRAMES_A_SECOND
        if not self._is_dirty or (not self.app_focus and self._frames % slowly):
            return
        self._is_dirty = False
        self.draw()

    def draw(self) -> None:
        """Draw the frame and the screen that is seen."""
        if not self.pane.is_attached:
            return
        self._top.say(top_line(self.board, self.size.width))
        self._top.set_class(self.board.target.protected, "-protected")
        if (replay := self.board.replay) is not None:
            width = self.size.width
            self._time_bar.say(time_line(replay, width, self.keys, ascii_only=self.is_ascii))
        if not self._filter_problem:
            self._crumbs_bar.say(crumbs(self.pane))
        commands = self.board.commands
        self._command.say(Text(f" $ {safe_text(commands[-1], 400)}" if commands else "", "dim"))
        self._command.display = bool(commands)
        self._hints_bar.say_keys(hints(self.pane, self.keys))
        self.pane.draw()

    # What screens load for themselves

    def _load_when_due(self) -> None:
        pane = self.pane
        if pane.every and time.monotonic() >= pane.due:
            pane.due = time.monotonic() + pane.every
            self._load(pane)

    @work(exclusive=True, group="load")
    async def _load(self, pane: Pane) -> None:
        if self.system is None or not pane.is_attached:
            return
        try:
            await pane.load(self.system)
        except MasError as error:
            self.complain(error)
        self.mark_dirty()

    def reload(self) -> None:
        """Load what the screen that is seen shows, now."""
        self.pane.due = 0.0

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does something now: while something is typed in, it is a character."""
        if action in MOVING and (
            isinstance(self.screen, ModalScreen) or isinstance(self.focused, (Input, TextArea))
        ):
            return False
        return super().check_action(action, parameters)

    def action_screen(self, number: int) -> None:
        """Go to a screen."""
        if not 1 <= number <= len(self.panes):
            return
        if number != self._current:
            self._before = self._current
        self._current = number
        self._screens.current = f"screen-{number}"
        self._tabs.pick(number)
        self._close_filter()
        if self.pane.home is not None:
            # At once, so that it takes nothing from what is gone to next.
            self.screen.set_focus(self.pane.home)
        self.reload()
        self.mark_dirty()

    @on(TabBar.Picked)
    def _tab(self, event: TabBar.Picked) -> None:
        self.action_screen(event.number)

    @on(KeyBar.Picked)
    async def _key_clicked(self, event: KeyBar.Picked) -> None:
        await self.run_action(action_of(event.key_id))

    def action_last_screen(self) -> None:
        """Back to the screen before."""
        self.action_screen(self._before)

    def go(self, title: str, name: str = "") -> None:
        """Go to the screen of this title, and to a row of it."""
        for number, pane in enumerate(self.panes, 1):
            if pane.title == title:
                self.action_screen(number)
                if name and not pane.go_to(name):
                    self.notify(f"{safe_text(name, 80)} is not here", severity="warning", markup=False)
                return

    def action_filter(self) -> None:
        """Type a filter; the last one stands there."""
        if not self.pane.fields:
            self.pane.begin_typing()
            return
        line = self._filter
        self._filter_line.display = True
        line.value = self.pane.row_filter.text or self.pane.last_filter
        line.placeholder = "word  field:glob  !not  bytes>100  · fields: " + " ".join(self.pane.fields)
        # At once: what is typed next belongs to the filter, and would be keys of the table.
        self.screen.set_focus(line)
        line.action_end()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        try:
            self.pane.set_filter(event.value)
        except UsageError as error:
            self._filter_problem = error.message
            self._crumbs_bar.say(Text(f" {safe_text(error.message, 200)}", "red"))
        else:
            self._filter_problem = ""
            self._crumbs_bar.say(crumbs(self.pane))

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        line = self._filter_line
        self._filter_problem = ""
        if line.display:
            line.display = False
            if self.pane.table is not None:
                self.screen.set_focus(self.pane.table)
        self.mark_dirty()

    async def action_back(self) -> None:
        """Leave the filter line; take the filter away; else nothing."""
        if self._filter_line.display:
            self._close_filter()
        elif isinstance(self.focused, Input) and self.pane.home is not None:
            self.screen.set_focus(self.pane.home)
        elif self.pane.row_filter:
            self.pane.set_filter("")
        self.mark_dirty()

    @on(LineTable.Opened)
    def _opened(self, event: LineTable.Opened) -> None:
        if event.table in self.pane.query(LineTable):
            self.pane.open(event.item)

    @on(LineTable.Chosen)
    def _chosen(self) -> None:
        self.mark_dirty()

    @on(LineTable.Headed)
    def _headed(self, event: LineTable.Headed) -> None:
        if isinstance(self.pane, TablePane) and event.table is self.pane.table:
            self.pane.sort_by(event.column)

    def action_help(self) -> None:
        """What keys do here."""
        text = Text()
        text.append(f"{self.pane.about}\n\n")
        shown = dict(self.pane.hints)
        for number, pane in enumerate(self.panes, 1):
            text.append(f" {shown_key(f'screen.{number}', self.keys)}", "bold cyan")
            text.append(f" {pane.title} ")
        text.append("\n\n")
        for key in KEYS:
            if action_name(key.action) == "screen":
                continue
            label = shown.get(key.id, key.label)
            text.append(f"  {shown_key(key.id, self.keys):10}", "bold cyan")
            text.append(f"{label}\n")
        if self.pane.fields:
            text.append("\nfilter fields  ", "bold")
            text.append(" ".join(self.pane.fields))
            text.append('\n  tutor  type:task.*  !heartbeat  decision:refused  bytes>100  "free text"\n')
        self.push_screen(ReadWindow(f"Keys · {self.pane.title}", text))

    def action_palette(self) -> None:
        """Go somewhere by name."""
        places = [(pane.title.lower(), pane.about) for pane in self.panes]
        status = self.board.status
        if status is not None:
            places += [(f"agent {agent.id}", agent.status) for agent in status.agents]
        self.push_screen(Palette(places), self._gone)

    def _gone(self, place: str | None) -> None:
        if not place:
            return
        word, _, rest = place.partition(" ")
        if rest:
            title = {"agent": "Agents", "trace": "Trace", "audit": "Audit"}.get(word, "")
            if title:
                self.go(title, rest.strip())
                return
        for pane in self.panes:
            if pane.title.lower().startswith(place.lower()):
                self.go(pane.title)
                return
        self.notify(f"there is no {safe_text(place, 60)!r} to go to", severity="warning", markup=False)

    async def action_quit(self) -> None:
        """Leave."""
        self.exit()

    def action_help_quit(self) -> None:
        """Ctrl-C twice leaves; once, it says so."""
        if time.monotonic() - self._is_quitting < 2:
            self.exit()
        self._is_quitting = time.monotonic()
        self.notify("Ctrl-C again leaves", markup=False)
