"""Pictures of the dashboard for the documents, as SVG, drawn from a recording that lies beside them.

The recording, the trace, the policy and the times of the stages come from the sample system of this project. The
clock stands at the end of the recording, so the same files give the same bytes.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import msgspec

from mas_core.model.policy import PolicyDocument
from mas_core.ops.stage_times import StageTimes
from mas_core.ops.trace import Hop

if TYPE_CHECKING:
    from mas_cli.tui.app import Dashboard
    from mas_cli.tui.board import Board

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
SIZE: Final = (120, 36)
SCREENS: Final = ("overview", "live", "rules", "trace")
"""Names of the pictures, which are those of the screens."""
CLOCK: Final = "21:47:00"
_FONT = re.compile(r"\s*@font-face \{.*?\}\n", re.DOTALL)
_NUMBER = re.compile(r"terminal-\d+")


class Sample(msgspec.Struct, frozen=True):
    """What a recording does not hold."""

    trace: Hop
    stages: StageTimes
    policy: PolicyDocument


def pictures() -> dict[Path, str]:
    """Every picture, drawn anew."""
    with _fixed_clock():
        return {FOLDER / f"{name}.svg": asyncio.run(_drawn(name)) for name in SCREENS}


async def _drawn(name: str) -> str:
    from mas_cli.tui.app import Dashboard
    from mas_cli.tui.screens import PANES

    number = [kind.title.lower() for kind in PANES].index(name) + 1
    sample = msgspec.json.decode((FOLDER / "sample.json").read_bytes(), type=Sample)
    board = _board()
    board.stages = sample.stages
    app = Dashboard(board, None, first=number)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        _FILL[name](app, sample)
        app.draw()
        await pilot.press(*_KEYS[name])
        await pilot.pause()
        app.draw()
        await pilot.pause()
        svg = app.export_screenshot(title="mas tui")
    # Neither fonts nor anything else is fetched from elsewhere.
    return _NUMBER.sub(f"mas-{name}", _FONT.sub("", svg)).rstrip() + "\n"


def _board() -> Board:
    from mas_cli.tui.board import Board
    from mas_core.ops import recordings
    from mas_core.settings.target import Target

    path = FOLDER / "sample.jsonl"
    board = Board(Target(url="", name="samples"))
    now = 0
    for entry in recordings.read(path):
        if entry.event is not None:
            now = entry.time
            board.live.add(entry.event, now=now / 1000)
        elif entry.status is not None:
            board.status = entry.status
    board.live.advance(now / 1000)
    board.server_ms = 0.4
    return board


def _fill_nothing(_app: Dashboard, _sample: Sample) -> None:
    """The board is enough."""


def _fill_rules(app: Dashboard, sample: Sample) -> None:
    pane: Any = app.pane
    pane.take_policy(sample.policy)


def _fill_trace(app: Dashboard, sample: Sample) -> None:
    pane: Any = app.pane
    pane.take_story(sample.trace)


_FILL: Final[dict[str, Callable[[Dashboard, Sample], None]]] = {
    "overview": _fill_nothing,
    "live": _fill_nothing,
    "rules": _fill_rules,
    "trace": _fill_trace,
}

_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "overview": (),
    "live": ("up",) * 8,
    "rules": ("down",) * 4 + ("right",) * 3,
    "trace": ("tab",),
}
"""What is pressed before the picture is taken: to a refused message, to a field of the matrix, to the story."""


@contextmanager
def _fixed_clock() -> Iterator[None]:
    from mas_cli.tui import frame_text
    from mas_cli.tui.screens import overview

    zone = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        with (
            patch.object(frame_text, "time", SimpleNamespace(strftime=lambda _: CLOCK)),
            patch.object(overview, "time", SimpleNamespace(monotonic=lambda: 0.0)),
        ):
            yield
    finally:
        if zone is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = zone
        time.tzset()
