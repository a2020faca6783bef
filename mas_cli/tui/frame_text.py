"""The lines of the frame: who and where at the top, the way here and the keys at the bottom."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rich.text import Text

from mas_cli.output.safe_text import safe_text
from mas_cli.tui.board import Board
from mas_cli.tui.key_table import shown_key
from mas_cli.tui.pane import Pane, TablePane
from mas_cli.tui.widgets.bars import bar

if TYPE_CHECKING:
    from mas_cli.tui.replay import Replay

MAX_HINTS: Final = 7
NARROW: Final = 100
"""Columns below which the first line says only what matters most."""
_COMMON_HINTS: Final = (("filter.open", "filter"), ("row.actions", "actions"), ("help.context", "keys"))


def top_line(board: Board, width: int) -> Text:
    """Where one is, and how it goes; in a narrow terminal without what can be seen elsewhere."""
    is_narrow = width < NARROW
    status = board.status
    text = Text(no_wrap=True)
    text.append(f" mas ▸ {safe_text(board.target.name, 40)} ", "bold")
    if board.target.protected:
        text.append("⛨ protected ", "bold")
    if board.read_only:
        text.append("read-only ", "bold")
    if board.problem is not None:
        text.append(f"  ✗ {safe_text(board.problem.message, 160)}", "red bold")
        return text
    if status is None and board.replay is not None:
        text.append("  a recording", "dim")
        return text
    if status is None:
        text.append("  connecting …", "dim")
        return text
    coming, refused = board.live.rates()
    running = sum(agent.status == "running" for agent in status.agents)
    others = sum(agent.status not in ("running", "stopped") for agent in status.agents)
    wanted = len({partition.owner for partition in status.partitions if partition.owner})
    if board.replay is None and not is_narrow:
        text.append(f"  server {board.server_ms:.1f} ms", "" if board.server_ms < 50 else "yellow")
    text.append(
        f"  {'gw' if is_narrow else 'gateways'} {wanted}/{len(status.gateways)}",
        "" if status.gateways else "red bold",
    )
    text.append(f"  agents {running}/{len(status.agents)}")
    if others:
        text.append(f" {others} held", "yellow")
    text.append(f"  in {coming:.1f}/s")
    text.append(f"  refused {refused:.1f}/s", "yellow" if refused else "")
    if board.live.sampling > 1:
        text.append(f"  showing 1 in {board.live.sampling}", "yellow")
    if board.replay is None and not is_narrow:
        text.append(f"  {time.strftime('%H:%M:%S')} ●live", "green")
    return text


def time_line(replay: Replay, width: int, keys: Mapping[str, str], *, ascii_only: bool) -> Text:
    """Where a recording is played, and by which keys one moves in it."""
    state = "end" if replay.at >= replay.count else "plays" if replay.is_playing else "held"
    text = Text(f" {state:5} x{replay.speed:g}  {replay.time}  ", "bold", no_wrap=True)
    told = f"  {replay.at:,} of {replay.count:,}"
    if replay.missed:
        told += f"  {replay.missed:,} missed"
    names = (
        ("live.pause", "play"), ("time.back", "back"), ("time.forward", "on"), ("replay.speed", "speed"),
    )  # fmt: skip
    hint = "".join(f"  {shown_key(key, keys)} {label}" for key, label in names)
    if width < 100:
        hint = ""
    room = width - len(text.plain) - len(told) - len(hint) - 1
    text.append(bar(replay.share, max(8, room), ascii_only=ascii_only), "green")
    text.append(told)
    text.append(hint, "cyan")
    return text


def crumbs(pane: Pane) -> Text:
    """Which screen and row, and what is filtered."""
    text = Text(" " + " ▸ ".join(safe_text(part, 60) for part in [pane.title, *pane.crumbs()]))
    if pane.row_filter:
        text.append(f"   filter: {safe_text(pane.row_filter.text, 80)}", "yellow")
        if isinstance(pane, TablePane):
            text.append(f"   {pane.shown_count:,} of {len(pane.records):,}", "bold")
    return text


def hints(pane: Pane, keys: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The keys that are of use here: names of their actions, the keys, and what they do."""
    common = [
        (key_id, pane.filter_label if key_id == "filter.open" else label) for key_id, label in _COMMON_HINTS
    ]
    found = [*pane.hints[: MAX_HINTS - len(common)], *common]
    return [(key_id, shown_key(key_id, keys), label) for key_id, label in found]
