"""The live pane under a flood: so many events, two thousand to a second of their own clock, as fast as they go."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from rich.text import Text

from mas_cli.tui.app import Dashboard
from mas_cli.tui.board import Board
from mas_cli.tui.feed import Feed
from mas_core.ops import watch
from mas_core.settings.target import Target

RATE = 2_000
BEGAN_MS = 1_795_000_000_000
REFUSED_EVERY = 20
SECONDS_A_TURN = 5
"""Of the events' clock, until the dashboard may draw."""


class LivePaneRun(msgspec.Struct):
    """What was seen."""

    seen: int
    kept: int
    rows: int
    sampling: int
    title: str
    draws: int
    before_mb: float
    after_mb: float
    peak_mb: float


class Flood(Feed):
    """The feed of a running system without the look at the whole."""

    async def run(self) -> None:
        """Follow what comes to its end."""
        await self._follow()


class Drawn(Dashboard):
    """Counts how often it is drawn."""

    draws = 0

    def draw(self) -> None:
        """Draw, and count it."""
        self.draws += 1
        super().draw()


async def _events(count: int) -> AsyncIterator[watch.LiveEvent | None]:
    for number in range(count):
        is_refused = number % REFUSED_EVERY == 0
        yield watch.LiveEvent(
            BEGAN_MS + number * 1000 // RATE,
            f"sender-{number % 97}",
            f"target-{number % 89}",
            f"work.step.{number % 11}",
            300 + number % 700,
            "denied" if is_refused else "allowed",
            f"no rule allows it: sender-{number % 97} may not" if is_refused else "",
            f"01M7YPY6NM{number:016d}",
            "" if is_refused else "r1",
            number % 7,
        )
        if number % (RATE * SECONDS_A_TURN) == 0:
            yield None
            await asyncio.sleep(0)
    yield None


async def run(count: int) -> LivePaneRun:
    """Let so many events pass through feed, buffer and table."""
    board = Board(Target(url="", name="flood"))

    async def nothing(*_: Any) -> Any:
        return []

    def follow(*_: Any) -> AsyncIterator[watch.LiveEvent | None]:
        return _events(count)

    with patch.multiple(watch, newest=nothing, latest=nothing, follow=follow):
        app = Drawn(board, None, first=2)
        feed = Flood(board, None, app.mark_dirty)  # type: ignore[arg-type] - nothing is asked of the system
        async with app.run_test(size=(120, 36)) as pilot:
            await pilot.pause()
            before = _rss_mb()
            await feed.run()
            await pilot.pause()
            app.draw()
            title = Text.from_markup(str(app.query_one("#live-box").border_title)).plain
            rows = len(app.pane._items)  # type: ignore[attr-defined]  # noqa: SLF001 - what the table is given
            live = board.live
            return LivePaneRun(
                live.seen,
                len(live.events),
                rows,
                live.sampling,
                title,
                app.draws,
                before,
                _rss_mb(),
                _peak_mb(),
            )


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1) / 1e6


if __name__ == "__main__":
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(run(int(sys.argv[1])))) + b"\n")
