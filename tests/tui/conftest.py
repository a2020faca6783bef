"""Fixtures of the dashboard's tests: a real running system, seen through Textual's pilot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.running_system import running_system
from textual.pilot import Pilot

from mas_cli.tui.app import Dashboard
from mas_cli.tui.board import Board
from mas_cli.tui.widgets.line_table import LineTable
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target


@dataclass
class Seen:
    """A dashboard that runs."""

    app: Dashboard
    pilot: Pilot[None]
    system: System

    def text(self) -> str:
        """All that stands on the screen."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line) for line in lines)

    async def press(self, *keys: str) -> None:
        """Press keys one after another."""
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()

    async def pick(self, label: str) -> None:
        """Choose an entry of the menu of actions by a part of its name."""
        await self.press("a")
        table = self.app.screen.query_one(LineTable)
        assert table.choose(next(item.id for item in table.rows.items if label in item.label))
        await self.press("enter")

    async def confirm(self) -> None:
        """Press the button that does it."""
        self.app.screen.query_one("#yes").focus()
        await self.press("enter")

    async def until(self, condition: Callable[[], object | Awaitable[object]] | str, seconds: float = 15.0):
        """Wait until a text is seen, or a condition holds."""
        check = (lambda: condition in self.text()) if isinstance(condition, str) else condition
        try:
            async with asyncio.timeout(seconds):
                while not (found := check()):
                    await asyncio.sleep(0.02)
                    await self.pilot.pause()
                return found
        except TimeoutError:
            raise AssertionError(f"not seen in {seconds:g} s: {condition}\n{self.text()}") from None


@pytest.fixture(scope="session")
def running_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running system of their own: what other tests send would come into sight."""
    with running_system(tmp_path_factory.mktemp("running") / "demo") as folder:
        yield folder


Opener = Callable[..., AbstractAsyncContextManager[Seen]]


@pytest.fixture
def dashboard(running_project) -> Opener:
    """Opens dashboards on the shared running system."""

    @asynccontextmanager
    async def opened(size=(120, 40), **options):
        operator = {"MAS_OPERATOR": str(options.pop("operator", ""))}
        target = resolve_target(config=running_project, environ=operator)
        board = Board(target, read_only=options.pop("read_only", False))
        async with System(target) as system:
            app = Dashboard(board, system, **options)
            async with app.run_test(size=size, notifications=True) as pilot:
                seen = Seen(app, pilot, system)
                await seen.until(lambda: board.status is not None)
                yield seen

    return opened
