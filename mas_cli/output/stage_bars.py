"""Which stage costs what, as bars of text; used by commands and by the dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mas_cli.output.colours import Style
from mas_cli.output.safe_text import cut, display_width, safe_text
from mas_cli.output.tables import Cell

if TYPE_CHECKING:
    from mas_core.ops.stage_times import StageTimes

LONGEST_BAR = 40
NAME_WIDTH = 10
_EIGHTHS = "▏▎▍▌▋▊▉█"

Line = tuple[Cell, ...]


def stage_lines(times: StageTimes, width: int, *, ascii_only: bool = False) -> Iterator[Line]:
    """A line for each stage: its share of the time, and what it took."""
    if not times.stages:
        yield (Cell("no message was judged lately", "dim"),)
        return
    dearest = max(stage.share for stage in times.stages)
    room = _room(width, 36)
    for stage in times.stages:
        yield (
            Cell(_name(stage.stage), "name"),
            Cell(share_bar(stage.share, dearest or 1, room, ascii_only=ascii_only), _style(stage.share)),
            Cell(f" {stage.share:>4.0%}  p50 {stage.p50_us:>5,.0f}  p95 {stage.p95_us:>6,.0f} µs"),
        )
    per_message = sum(stage.us_per_message for stage in times.stages)
    yield (
        Cell(
            f"{per_message:.1f} µs a message in {times.messages:,}, {times.messages / times.rounds:.1f} at a time; "
            f"waited p50 {times.waited_p50_ms:.0f} ms, p95 {times.waited_p95_ms:.0f} ms",
            "dim",
        ),
    )


def one_trace_lines(stages_us: Mapping[str, int], width: int, *, ascii_only: bool = False) -> Iterator[Line]:
    """A line for each stage that one message passed."""
    everything = sum(stages_us.values()) or 1
    dearest = max(stages_us.values(), default=0) or 1
    room = _room(width, 24)
    for name, took in stages_us.items():
        bar = share_bar(took, dearest, room, ascii_only=ascii_only)
        yield (
            Cell(_name(name), "name"),
            Cell(bar, _style(took / everything)),
            Cell(f" {took:>6,} µs {took / everything:>4.0%}"),
        )


def share_bar(value: float, highest: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of `width` columns for the highest value, to an eighth of a column."""
    eighths = round(max(0.0, min(1.0, value / highest)) * width * 8)
    if ascii_only:
        return ("#" * round(eighths / 8)).ljust(width)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest - 1] if rest else "")
    return text.ljust(width)


def _name(name: str) -> str:
    text = cut(safe_text(name, 30), NAME_WIDTH)
    return text + " " * (NAME_WIDTH + 1 - display_width(text))


def _room(width: int, rest: int) -> int:
    return max(4, min(LONGEST_BAR, width - NAME_WIDTH - 1 - rest))


def _style(share: float) -> Style:
    return "warn" if share >= 0.5 else "good"
