"""When things happened: a line of bars, one for each stretch of time; a click goes there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from mas_cli.output.columns import duration
from mas_cli.tui.widgets.bars import sparkline

LEAST_MS = 60_000
"""The shortest time that the whole line stands for."""
TAIL = 24
"""Columns for what the bars stand for, where there is room."""


class TimeBar(Widget):
    """Counts by stretches of time, with the chosen moment in it."""

    DEFAULT_CSS = "TimeBar { height: 1; }"

    class Picked(Message):
        """A moment was clicked: Unix milliseconds."""

        def __init__(self, moment: int) -> None:
            super().__init__()
            self.moment = moment

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self._times: Sequence[int] = ()
        self._first = self._last = 0
        self._chosen: int | None = None
        self._left = self._room = 0

    def show(self, times: Sequence[int], *, first: int, last: int, chosen: int | None) -> None:
        """Show when things happened.

        Args:
            times: Unix milliseconds of each, in any order.
            first: Where the line begins.
            last: Where it ends.
            chosen: The moment that is marked.
        """
        first = min(first, last - LEAST_MS)
        if (times, first, last, chosen) != (self._times, self._first, self._last, self._chosen):
            self._times, self._first, self._last, self._chosen = times, first, last, chosen
            self.refresh()

    def render(self) -> Text:
        """The line."""
        text = Text(no_wrap=True)
        if not self._last:
            return text
        left, right = (f" {_clock(moment)} " for moment in (self._first, self._last))
        room = self.size.width - len(left) - len(right)
        has_tail = room > 2 * TAIL
        self._left, self._room = len(left), max(8, room - TAIL * has_tail)
        span = self._last - self._first + 1
        counts = [0.0] * self._room
        for time in self._times:
            if self._first <= time <= self._last:
                counts[(time - self._first) * self._room // span] += 1
        bars = Text(sparkline(counts, self._room, ascii_only=self._ascii_only), "green")
        if self._chosen is not None and self._first <= self._chosen <= self._last:
            place = (self._chosen - self._first) * self._room // span
            bars.stylize("reverse bold", place, place + 1)
        text.append(left, "dim")
        text.append_text(bars)
        text.append(right, "dim")
        if has_tail:
            each = duration(round(span / 1000 / self._room, 1))
            text.append(f"{each} each, at most {max(counts):,.0f}"[:TAIL], "dim")
        return text

    def on_click(self, event: events.Click) -> None:
        """Go to the moment that stands there."""
        place = event.x - self._left
        if 0 <= place < self._room:
            span = self._last - self._first + 1
            self.post_message(self.Picked(self._first + (2 * place + 1) * span // (2 * self._room)))


def _clock(moment: int) -> str:
    try:
        return datetime.fromtimestamp(moment / 1000).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "--:--:--"
