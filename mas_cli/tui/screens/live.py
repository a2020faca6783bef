"""Live: decisions as they are made. Pausing holds the picture and never what comes in; the past is there too."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mas_cli.output.colours import Style
from mas_cli.output.columns import Record
from mas_cli.output.moments import moment
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action
from mas_cli.tui.pane import Pane
from mas_cli.tui.screens.live_actions import live_actions
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import Prose, fields_text
from mas_cli.tui.widgets.time_bar import TimeBar
from mas_core.errors import MasError
from mas_core.model.decision import DELIVERED

if TYPE_CHECKING:
    from mas_core.ops.watch import LiveEvent

_Item = tuple[int, "LiveEvent"]
EMPTY = "nothing has been sent yet"
PAST = 1_000
"""Events of the past that are read on each side of a moment."""
_FIELDS = {
    "from": "sender", "to": "target", "type": "type", "decision": "decision", "bytes": "bytes", "ms": "ms",
    "reason": "reason", "rule": "rule", "id": "id",
}  # fmt: skip


class Live(Pane):
    """A list that grows at its end, and the chosen event beside or below it."""

    title: ClassVar[str] = "Live"
    about: ClassVar[str] = (
        "What the gateways decide, as it happens; scrolling up or p holds the picture, [ and ] move in time."
    )
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("row.open", "trace"),
        ("live.pause", "pause"),
        ("time.back", "earlier"),
        ("problem.next", "next refused"),
    )
    DEFAULT_CSS = """
    Live #live-box { width: 1fr; }
    Live #event-box { width: 42; }
    .-narrow Live Horizontal, .-normal Live Horizontal { layout: vertical; }
    .-narrow Live #live-box, .-normal Live #live-box { width: 100%; height: 2fr; }
    .-narrow Live #event-box, .-normal Live #event-box { width: 100%; height: 1fr; min-height: 6; }
    """

    def compose(self) -> ComposeResult:
        """The list and one event."""
        with Horizontal():
            with Vertical(id="live-box", classes="titled"):
                yield TimeBar(ascii_only=self.dashboard.is_ascii)
                yield LineTable(
                    [
                        Layout("TIME", least=12, fixed=True, whole=True),
                        Layout("FROM"),
                        Layout("TO"),
                        Layout("TYPE"),
                        Layout("BYTES", right=True, least=5),
                        Layout("MS", right=True, least=3),
                        Layout("DECISION", least=8),
                        Layout("REASON", flexible=True),
                    ],
                    follows=True,
                    empty=EMPTY,
                )
            with Vertical(id="event-box", classes="titled") as box:
                box.border_title = "event"
                yield Prose(id="event")

    def on_mount(self) -> None:
        """All is shown."""
        self._items: list[_Item] = []
        self._last = 0
        self._is_held = False
        """Whether p was pressed; scrolling up holds the picture as well."""
        self._total = 0
        self._past: list[_Item] | None = None
        """The part of the past that is looked at, in place of what is kept."""
        self._numbers = itertools.count(-(10**15))

    @property
    def fields(self) -> tuple[str, ...]:
        """What an event has."""
        return tuple(_FIELDS)

    @property
    def is_paused(self) -> bool:
        """Whether the picture is held."""
        return self._is_held or not self._list.follows_end

    @property
    def _list(self) -> LineTable:
        return self.part("LineTable", LineTable)

    def toggle_pause(self) -> None:
        """Hold the picture, or go on at the newest."""
        if self.is_paused:
            self._is_held = False
            self._list.go_end()
        else:
            self._is_held = True
            self._list.follows_end = False

    def set_filter(self, text: str) -> None:
        """Filter what is kept as well as what comes, paused or not."""
        super().set_filter(text)
        self._refill()
        self._show()

    def draw(self) -> None:
        """Show what has come, unless the picture is held."""
        live = self.board.live
        if self._list.follows_end:
            self._is_held = False
            if self._past is not None:
                self._past = None
                self._refill()
        if not self.is_paused:
            fresh = list(live.after(self._last))[::-1]
            if fresh:
                self._last = fresh[-1][0]
                self._items += [item for item in fresh if self._fits(item)]
                oldest = live.events[0][0]
                if self._items and self._items[0][0] < oldest:
                    self._items = [item for item in self._items if item[0] >= oldest]
            self._total = len(live.events)
        self._show()

    def _refill(self) -> None:
        """Look at all that is kept, or at the part of the past that was read, through the filter."""
        if self._past is not None:
            found: Iterable[_Item] = self._past
            self._total = len(self._past)
        else:
            kept = [item for item in self.board.live.events if not self.is_paused or item[0] <= self._last]
            found, self._total = kept, len(kept)
        self._items = [item for item in found if self._fits(item)]

    def _fits(self, item: _Item) -> bool:
        return not self.row_filter or self.row_filter.matches(_getter(item[1]))

    def _show(self) -> None:
        missed = self.board.live.newest - self._last
        title = Text("live")
        if self.is_paused:
            title = Text("the past" if self._past is not None else "held", "yellow")
            if missed:
                title.append(f"  +{missed:,} new")
        if self.row_filter:
            title.append(f"  {len(self._items):,} of {self._total:,}")
        if self.board.live.sampling > 1:
            title.append(f"  showing 1 in {self.board.live.sampling} of what passed", "yellow")
        self.part("#live-box", Vertical).border_title = title
        self._list.show(Rows(self._items, lambda item: item[0], _cells), words=self.row_filter.words)
        chosen = self._list.item
        times = [event.time for _, event in self._items]
        self.part("TimeBar", TimeBar).show(
            times,
            first=min(times, default=0),
            last=max(times, default=0),
            chosen=chosen[1].time if chosen is not None and self.is_paused else None,
        )

    # The past

    def move_time(self, seconds: int) -> None:
        """Choose what was decided so much earlier or later; what is not kept here is read."""
        chosen = self._list.item
        if chosen is not None:
            self.look_at(chosen[1].time + seconds * 1000, is_back=seconds < 0)

    @on(TimeBar.Picked)
    def _picked(self, event: TimeBar.Picked) -> None:
        self.look_at(event.moment, is_back=True)

    @on(LineTable.Topped)
    def _topped(self) -> None:
        if self._items:
            self.look_at(self._items[0][1].time - 1, is_back=True)

    def look_at(self, moment: int, *, is_back: bool) -> None:
        """Hold the picture at a moment.

        Args:
            moment: Unix milliseconds.
            is_back: Whether what was before it is wanted, where nothing was just then.
        """
        self._is_held = True
        self._list.follows_end = False
        live = self.board.live.events
        if live and moment > live[-1][1].time:
            self._list.go_end()
        elif live and moment >= live[0][1].time:
            if self._past is not None:
                self._past = None
                self._refill()
            self._choose(moment, is_back=is_back)
        elif self._past and self._past[0][1].time <= moment <= self._past[-1][1].time:
            self._choose(moment, is_back=is_back)
        else:
            self._read_past(moment, is_back)
        self._show()

    def _choose(self, moment: int, *, is_back: bool) -> None:
        times = [event.time for _, event in self._items]
        place = bisect_right(times, moment) - 1 if is_back else bisect_left(times, moment)
        self._show()
        self._list.choose_place(min(max(0, place), max(0, len(times) - 1)))

    @work(exclusive=True, group="past")
    async def _read_past(self, moment: int, is_back: bool) -> None:
        from mas_core.ops import watch

        system = self.dashboard.system
        if system is None:
            return
        try:
            found = await watch.around(system, moment, PAST)
        except MasError as error:
            self.dashboard.complain(error)
            return
        # A filter may hide all of it; that nothing was earlier shows as the first row.
        self._past = [(next(self._numbers), event) for event in found]
        self._refill()
        self._choose(moment, is_back=is_back)
        self.dashboard.mark_dirty()

    @on(LineTable.Chosen)
    def _tell(self, event: LineTable.Chosen) -> None:
        text = Text() if event.item is None else fields_text(list(self.record_of(event.item).items()))
        self.part("#event", Prose).say(text)

    def record_of(self, item: Any) -> Record:
        """An event as `mas watch` writes it."""
        event = item[1]
        record = {name: getattr(event, attribute) for name, attribute in _FIELDS.items()}
        return {"time": moment(event.time), **record}

    def name_of(self, item: Any) -> str:
        """Its id."""
        return str(item[1].id or item[1].type)

    def command_of(self, item: Any) -> tuple[str, ...]:
        """Its trace."""
        return ("trace", item[1].id) if item[1].id else ()

    def is_problem(self, item: Any) -> bool:
        """What was not let through."""
        return item[1].decision not in DELIVERED

    def open(self, item: Any) -> None:
        """To its trace."""
        if item[1].id:
            self.dashboard.go("Trace", item[1].id)

    def actions(self) -> Sequence[Action]:
        """What can be done to what was decided."""
        return live_actions(self.dashboard.go)


def _getter(event: LiveEvent) -> Callable[[str], object]:
    return lambda name: getattr(event, _FIELDS[name])


def _cells(item: _Item) -> Sequence[Cell]:
    event = item[1]
    style: Style | None = None
    if event.decision != "allowed":
        style = "warn" if event.decision in DELIVERED else "bad"
    clock = datetime.fromtimestamp(event.time / 1000).astimezone().strftime("%H:%M:%S.%f")[:12]
    return (
        Cell(clock, "dim"),
        Cell(safe_text(event.sender, 64), "name"),
        Cell(safe_text(event.target, 64), "name"),
        Cell(safe_text(event.type, 100)),
        Cell(str(event.bytes)),
        Cell(str(event.ms)),
        Cell(safe_text(event.decision, 30), style),
        Cell(safe_text(event.reason, 200), "dim"),
    )
