"""Plays a recording into a board, as the feed fills it from a system: with pauses, steps and speeds."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mas_cli.output.moments import moment
from mas_cli.tui.board import Board
from mas_cli.tui.live_buffer import KEPT_EVENTS

if TYPE_CHECKING:
    from mas_core.ops.recordings import Entry

SPEEDS: Final = (1.0, 2.0, 10.0, 60.0)
FRAME_S: Final = 0.1


class Replay:
    """Moves through a recording.

    Args:
        board: What is filled.
        path: Where the recording is, to say so.
        entries: What was recorded, in the order of time.
        changed: Called when there is something new to see.
    """

    def __init__(self, board: Board, path: Path, entries: Sequence[Entry]) -> None:
        self._board = board
        self.path = path
        self._entries = entries
        self._times = [entry.time for entry in entries]
        self.changed: Callable[[], None] = lambda: None
        self.at = 0
        """How many entries have been played."""
        self.clock = float(self._times[0]) if entries else 0.0
        """Unix milliseconds that are shown."""
        self.is_playing = True
        self.speed = SPEEDS[0]
        self.missed = 0

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    @property
    def share(self) -> float:
        """How far it is, in time, from 0 to 1."""
        if not self._times or self._times[-1] == self._times[0]:
            return 1.0
        return min(1.0, (self.clock - self._times[0]) / (self._times[-1] - self._times[0]))

    @property
    def time(self) -> str:
        """What the clock shows."""
        return (moment(int(self.clock)) or "-")[:19].replace("T", " ")

    async def run(self) -> None:
        """Play until cancelled."""
        self.step(1)
        while True:
            await asyncio.sleep(FRAME_S)
            if self.is_playing and self.at < self.count:
                # An hour in which nothing happened is not waited for.
                longest = self._times[self.at] - FRAME_S * 1000
                self.clock = max(self.clock, longest - 10_000)
                self._play_to(self.clock + FRAME_S * 1000 * self.speed)

    def toggle(self) -> None:
        """Pause or go on; at the end, begin again."""
        if not self._entries:
            return
        if self.at >= self.count:
            self._restart_at(0)
            self.is_playing = True
        else:
            self.is_playing = not self.is_playing
        self.changed()

    def next_speed(self) -> None:
        """The next of the speeds."""
        self.speed = SPEEDS[(SPEEDS.index(self.speed) + 1) % len(SPEEDS)]
        self.changed()

    def step(self, entries: int) -> None:
        """So many entries on or back."""
        if not self._entries:
            return
        wanted = max(1, min(self.count, self.at + entries))
        if wanted < self.at:
            self._restart_at(wanted)
        else:
            self._play(wanted)
            self.clock = float(self._times[wanted - 1])
        self.changed()

    def seek(self, milliseconds: float) -> None:
        """So much time on or back."""
        if not self._entries:
            return
        wanted = min(max(self.clock + milliseconds, self._times[0]), self._times[-1])
        if wanted < self.clock:
            self._restart_at(max(1, bisect_left(self._times, wanted)))
            self.clock = wanted
        else:
            self._play_to(wanted)
        self.changed()

    def _play_to(self, clock: float) -> None:
        self.clock = min(clock, float(self._times[-1]))
        self._play(bisect_left(self._times, self.clock + 1))
        self._board.live.advance(self.clock / 1000)
        self.changed()

    def _play(self, wanted: int) -> None:
        for entry in self._entries[self.at : wanted]:
            if entry.event is not None:
                self._board.live.add(entry.event, now=entry.time / 1000)
            elif entry.status is not None:
                self._board.status = entry.status
            self.missed += entry.missed
        self.at = max(self.at, wanted)

    def _restart_at(self, place: int) -> None:
        """Fill the board anew with what was before `place`."""
        self._board.live.restart()
        self._board.status = next(
            (entry.status for entry in reversed(self._entries[:place]) if entry.status is not None), None
        )
        self.missed = sum(entry.missed for entry in self._entries[:place])
        self.at = max(0, place - KEPT_EVENTS)
        self._play(place)
        self.clock = float(self._times[max(0, place - 1)])
