"""Brings news to the board: one task follows the decisions, another looks at the whole now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from mas_cli.tui.board import Board
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_core.ops.system import System

HISTORY: Final = 2_000
"""Events of the past that are read at the start."""
STATUS_S: Final = 1.0
LONGEST_PAUSE_S: Final = 5.0


class Feed:
    """Fills a board from a running system until it is cancelled; lost connections are taken up again."""

    def __init__(self, board: Board, system: System, changed: Callable[[], None]) -> None:
        self._board = board
        self._system = system
        self._changed = changed
        self._after: dict[int, int] | None = None

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lasting(self._follow))
            tasks.create_task(self._lasting(self._look))

    async def _lasting(self, work: Callable[[], Awaitable[None]]) -> None:
        pause = 0.25
        while True:
            try:
                await work()
            except MasError as error:
                self._board.problem = error
                self._changed()
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)

    async def _follow(self) -> None:
        from mas_core.ops import watch

        live = self._board.live
        if self._after is None:
            self._after = await watch.newest(self._system)
            for old in await watch.latest(self._system, HISTORY):
                live.add(old, now=old.time / 1000)
        async for event in watch.follow(self._system, self._after):
            if event is not None:
                live.add(event, now=event.time / 1000)
            self._changed()

    async def _look(self) -> None:
        from mas_core.ops.status import status

        while True:
            began = time.perf_counter()
            now_ms = await self._system.store.connection.time_ms()
            self._board.live.advance(now_ms / 1000)
            self._board.server_ms = (time.perf_counter() - began) * 1000
            self._board.status = await status(self._system)
            self._board.problem = None
            self._changed()
            await asyncio.sleep(STATUS_S)
