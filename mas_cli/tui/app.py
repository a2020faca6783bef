"""The dashboard: a frame around nine screens. It draws at most ten times a second, whatever comes in."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import ContentSwitcher, Input

from mas_cli.output.safe_text import safe_text
from mas_cli.tui.actions import Action, Answers
from mas_cli.tui.board import Board
from mas_cli.tui.dialogs import ActionDialog, ActionMenu, Asked, Palette, ReadWindow
from mas_cli.tui.feed import Feed
from mas_cli.tui.key_table import KEYS, bindings, keymap, shown_key
from mas_cli.tui.pane import Pane, TablePane
from mas_cli.tui.screens import PANES
from mas_cli.tui.widgets.bars import Bar, TabBar
from mas_cli.tui.widgets.line_table import LineTable
from mas_core.errors import MasError, UsageError

if TYPE_CHECKING:
    from mas_core.ops.system import System

FRAMES_A_SECOND: Final = 10
UNSEEN_FRAMES_A_SECOND: Final = 4
MAX_HINTS: Final = 7
_COMMON_HINTS: Final = (("filter.open", "filter"), ("row.actions", "actions"), ("help.context", "keys"))


class Dashboard(App[None]):
    """All screens and what they have in common.

    Args:
        board: Where the feed puts what it learns.
        system: The system, not open yet; None for a replay.
        feed: Brings the news; a `Feed` of the system when left out.
        first: Number of the screen to begin with.
        keys: `tui.keys` of mas.yaml.

    Raises:
        ConfigurationError: `keys` gives a key two meanings, or names what there is not.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Any]] = [*bindings()]
    # Textual declares these two as what an object may change.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-tall")]  # noqa: RUF012
    CSS = """
    #top { background: $panel; }
    #top.-protected { background: $error-darken-1; color: $text; }
    #tabs { background: $boost; }
    #crumbs { color: $text-muted; }
    #hints { background: $panel; }
    #filter-line { height: 1; display: none; }
    #filter-line.-open { display: block; }
    #filter-line Bar { width: 10; }
    #filter { height: 1; border: none; padding: 0; }
    #filter:focus { border: none; background: $primary 30%; }
    ContentSwitcher { height: 1fr; }
    .titled { border: round $surface-lighten-2; border-title-color: $text; padding: 0 1; }
    .titled:focus-within { border: round $primary; }
    """

    def __init__(
        self,
        board: Board,
        system: System | None,
        *,
        feed: Feed | None = None,
        first: int = 1,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(ansi_color=None)
        self.keys = dict(keys or {})
        self._keymap = keymap(self.keys)
        self.board = board
        self.system = system
        self._feed = feed
        self._first = first
        self._current = first
        self._before = first
        self._is_dirty = True
        self._frames = 0
        self._is_quitting = 0.0
        self.panes: list[Pane] = [kind(id=f"screen-{number}") for number, kind in enumerate(PANES, 1)]
        self._top, self._crumbs_bar = Bar(id="top"), Bar(id="crumbs")
        self._command, self._hints_bar = Bar(id="command"), Bar(id="hints")
        self._tabs = TabBar([pane.title for pane in self.panes], id="tabs")
        self._screens = ContentSwitcher(initial=f"screen-{first}")
        self._filter_line, self._filter_name = Horizontal(id="filter-line"), Bar(id="filter-name")
        self._filter = Input(id="filter")
        self.is_ascii = os.environ.get("MAS_TUI_ASCII", "") not in ("", "0")

    def compose(self) -> ComposeResult:
        """The frame."""
        yield self._top
        yield self._tabs
        with self._screens:
            yield from self.panes
        with self._filter_line:
            yield self._filter_name
            yield self._filter
        yield self._crumbs_bar
        yield self._command
        yield self._hints_bar

    def on_mount(self) -> None:
        """Start the feed and the clock of frames."""
        self.set_keymap(self._keymap)
        self._filter_name.say(Text("  filter "))
        self.action_screen(self._first)
        self.set_interval(1 / FRAMES_A_SECOND, self._frame)
        if self.system is not None or self._feed is not None:
            self._run_feed()
        self.set_interval(0.25, self._load_when_due)

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
        self._top.say(self._top_line())
        self._top.set_class(self.board.target.protected, "-protected")
        self._crumbs_bar.say(self._crumbs())
        commands = self.board.commands
        self._command.say(Text(f" $ {commands[-1]}" if commands else "", "dim"))
        self._command.display = bool(commands)
        self._hints_bar.say(self._hints())
        self.pane.draw()

    def _top_line(self) -> Text:
        board, status = self.board, self.board.status
        text = Text(no_wrap=True)
        text.append(f" mas ▸ {safe_text(board.target.name, 40)} ", "bold")
        if board.target.protected:
            text.append("⛨ protected ", "bold")
        if board.read_only:
            text.append("read-only ", "bold")
        if board.problem is not None:
            text.append(f"  ✗ {safe_text(board.problem.message, 160)}", "red bold")
            return text
        if status is None:
            text.append("  connecting …", "dim")
            return text
        coming, refused = board.live.rates()
        running = sum(agent.status == "running" for agent in status.agents)
        others = sum(agent.status not in ("running", "stopped") for agent in status.agents)
        wanted = len({partition.owner for partition in status.partitions if partition.owner})
        text.append(f"  server {board.server_ms:.1f} ms", "" if board.server_ms < 50 else "yellow")
        text.append(f"  gateways {wanted}/{len(status.gateways)}", "" if status.gateways else "red bold")
        text.append(f"  agents {running}/{len(status.agents)}")
        if others:
            text.append(f" {others} held", "yellow")
        text.append(f"  in {coming:.1f}/s")
        text.append(f"  refused {refused:.1f}/s", "yellow" if refused else "")
        if board.live.sampling > 1:
            text.append(f"  showing 1 in {board.live.sampling}", "yellow")
        text.append(f"  {time.strftime('%H:%M:%S')} ●live", "green")
        return text

    def _crumbs(self) -> Text:
        text = Text(" " + " ▸ ".join(safe_text(part, 60) for part in [self.pane.title, *self.pane.crumbs()]))
        pane = self.pane
        if pane.row_filter:
            text.append(f"   filter: {safe_text(pane.row_filter.text, 80)}", "yellow")
            if isinstance(pane, TablePane):
                text.append(f"   {pane.shown_count:,} of {len(pane.records):,}", "bold")
        return text

    def _hints(self) -> Text:
        text = Text(no_wrap=True)
        for key_id, label in [*self.pane.hints[: MAX_HINTS - len(_COMMON_HINTS)], *_COMMON_HINTS]:
            text.append(f" {shown_key(key_id, self.keys)}", "bold cyan")
            text.append(f" {label} ")
        return text

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

    def complain(self, error: MasError) -> None:
        """Say what went wrong, and what to type."""
        hint = f"\ntry: {error.hint[0]}" if error.hint else ""
        self.notify(safe_text(error.message, 400) + hint, severity="error", markup=False)

    # Keys

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
            self.pane.home.focus()
        self.reload()
        self.mark_dirty()

    @on(TabBar.Picked)
    def _tab(self, event: TabBar.Picked) -> None:
        self.action_screen(event.number)

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
            return
        line = self._filter
        self._filter_line.add_class("-open")
        line.value = self.pane.row_filter.text or self.pane.last_filter
        line.placeholder = "word  field:glob  !not  bytes>100  · fields: " + " ".join(self.pane.fields)
        line.focus()
        line.action_end()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        try:
            self.pane.set_filter(event.value)
        except UsageError as error:
            self._crumbs_bar.say(Text(f" {safe_text(error.message, 200)}", "red"))
        else:
            self._crumbs_bar.say(self._crumbs())

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        line = self._filter_line
        if line.has_class("-open"):
            line.remove_class("-open")
            if self.pane.table is not None:
                self.pane.table.focus()
        self.mark_dirty()

    async def action_back(self) -> None:
        """Leave the filter line; take the filter away; else nothing."""
        if self._filter_line.has_class("-open"):
            self._close_filter()
        elif self.pane.row_filter:
            self.pane.set_filter("")
        self.mark_dirty()

    def action_pause(self) -> None:
        """Hold the picture, not what comes."""
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
        """Move in time, where a screen can."""
        self.pane.move_time(seconds)
        self.mark_dirty()

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

    def action_copy(self) -> None:
        """Copy what the chosen row is called."""
        table = self.pane.table
        if table is not None and table.item is not None:
            self.copy_to_clipboard(safe_text(self.pane.name_of(table.item)))
            self.notify("copied", markup=False)

    def action_copy_command(self) -> None:
        """Copy the last command."""
        if self.board.commands:
            self.copy_to_clipboard(self.board.commands[-1])
            self.notify("copied", markup=False)

    def action_json(self) -> None:
        """The chosen row as JSON."""
        found = self.pane.as_json()
        if found is not None:
            self.push_screen(ReadWindow(safe_text(found[0], 70), found[1]))

    def action_help(self) -> None:
        """What keys do here."""
        text = Text()
        text.append(f"{self.pane.about}\n\n")
        shown = dict(self.pane.hints)
        for key in KEYS:
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

    def action_jump(self) -> None:
        """The same overlay, for who reaches for the space bar."""
        self.action_palette()

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

    # Acting

    def action_row_actions(self) -> None:
        """The menu of what can be done to the marked rows, or the chosen one."""
        items = self.pane.chosen_items()
        records = [self.pane.record_of(item) for item in items]
        names = [self.pane.name_of(item) for item in items]
        self.offer(
            [action for action in self.pane.actions() if all(map(action.applies, records))], records, names
        )

    def offer(self, actions: Sequence[Action], records: Sequence[Any], names: Sequence[str]) -> None:
        """Let one of some actions be chosen, and do it once it is confirmed."""
        locked = ""
        if self.board.read_only:
            locked = "nothing can be changed: " + ("a replay" if self.system is None else "read-only")
        what = names[0] if len(names) == 1 else f"{len(names)} rows" if names else self.pane.title

        def chosen(action: Action | None) -> None:
            if action is not None:
                self.ask(action, records or [{}], names or [self.pane.title])

        self.push_screen(ActionMenu(actions, safe_text(what, 70), locked=locked), chosen)

    def ask(self, action: Action, records: Sequence[Any], names: Sequence[str]) -> None:
        """Ask before an action; one that only reads and needs nothing is done at once."""
        target = self.board.target
        if action.impact == "read" and not action.questions:
            self._act(action, records, {"reason": ""})
            return

        def answered(answers: Answers | None) -> None:
            if answers is not None:
                self._act(action, records, answers)

        self.push_screen(ActionDialog(Asked(action, records, names, target.name, target.protected)), answered)

    @work(group="act")
    async def _act(self, action: Action, records: Sequence[Any], answers: Answers) -> None:
        system = self.system
        if system is None:
            return
        told: list[str] = []
        for record in records:
            line = action.command_line(record, answers)
            system.operator_log.explain(
                context=self.board.target.name, command=line, reason=answers.get("reason", "")
            )
            try:
                told.append(await action.run(system, record, answers))
            except MasError as error:
                self.complain(error)
                break
            self.board.commands.append(safe_text(line, 400))
        if told:
            more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
            self.notify(safe_text(told[0], 400) + more, markup=False)
        if self.pane.table is not None:
            self.pane.table.marked.clear()
        self.reload()
        self.mark_dirty()


def _holds(pane: Pane, item: Any) -> bool:
    text = " ".join(map(str, pane.record_of(item).values())).casefold()
    return any(word.casefold() in text for word in pane.row_filter.words)
