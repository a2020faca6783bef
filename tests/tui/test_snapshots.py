"""Each screen as it looked when somebody last looked at it, at two sizes; `--snapshot-update` takes new ones."""

import dataclasses
import time
from types import SimpleNamespace

import pytest
from support import tui_boards

from mas_cli.tui import frame_text
from mas_cli.tui.app import Dashboard
from mas_cli.tui.screens import PANES, overview

SIZES = [(80, 24), (120, 40)]


@pytest.fixture(autouse=True)
def frozen(monkeypatch):
    """No clock and no zone of this machine is shown."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(frame_text, "time", SimpleNamespace(strftime=lambda _: "12:31:07"))
    monkeypatch.setattr(overview, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    yield
    monkeypatch.undo()
    time.tzset()


def sample():
    """A board without anything that depends on today."""
    board = tui_boards.board("sample")
    agents = [dataclasses.replace(agent, last_seen=0) for agent in board.status.agents]
    board.status = dataclasses.replace(board.status, agents=agents)
    return board


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "number", range(1, len(PANES) + 1), ids=lambda number: PANES[number - 1].title.lower()
)
def test_a_screen_looks_as_it_did(snap_compare, number, size):
    """Frame, panes, columns and hints."""
    app = Dashboard(sample(), None, first=number)

    async def ready(pilot):
        await pilot.pause()
        tui_boards.fill(app, "sample")
        await pilot.pause(0.3)

    assert snap_compare(app, terminal_size=size, run_before=ready)
