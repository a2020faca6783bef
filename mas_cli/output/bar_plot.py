"""Bars as a picture: plain SVG that any browser shows, in light and dark, and that fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from mas_cli.output.safe_text import cut, safe_text

if TYPE_CHECKING:
    from mas_core.ops.bench.budget import Budget

WIDTH = 920
_LEFT = 340
_RIGHT = 170
_ROW = 26
_TOP = 64
_BOTTOM = 18
_LABEL = 42
"""Characters of a label that have room."""
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .told { fill: #57606a }
  .end { text-anchor: end }
  .bar { fill: #4078c0 } .good { fill: #2da44e } .bad { fill: #cf222e }
  .limit { stroke: #24292f; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .told { fill: #9198a1 } .limit { stroke: #e6edf3 }
  }
"""


class PlotBar(NamedTuple):
    """One bar."""

    label: str
    value: float
    told: str
    """What stands at its end."""
    limit: float | None = None
    """Where a line is drawn across it."""
    is_good: bool | None = None
    """Whether it stays on the right side of that; None where nothing is asked of it."""


def bars_svg(title: str, told: str, bars: Sequence[PlotBar]) -> str:
    """Horizontal bars on one scale, from 0."""
    highest = max((max(bar.value, bar.limit or 0.0) for bar in bars), default=0.0) or 1.0
    room = WIDTH - _LEFT - _RIGHT
    height = _TOP + _ROW * len(bars) + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text x="16" y="26" class="title">{_text(title)}</text>',
        f'<text x="16" y="46" class="told">{_text(told, 130)}</text>',
    ]
    for number, bar in enumerate(bars):
        top = _TOP + number * _ROW
        width = max(1.0, bar.value / highest * room)
        kind = "bar" if bar.is_good is None else "good" if bar.is_good else "bad"
        parts += [
            f'<text x="{_LEFT - 10}" y="{top + 15}" class="end">{_text(bar.label, _LABEL)}</text>',
            f'<rect x="{_LEFT}" y="{top + 3}" width="{width:.1f}" height="{_ROW - 10}" rx="2" class="{kind}"/>',
        ]
        if bar.limit is not None:
            x = _LEFT + bar.limit / highest * room
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + _ROW - 4}" class="limit"/>')
        parts.append(
            f'<text x="{WIDTH - _RIGHT + 10}" y="{top + 15}" class="told">{_text(bar.told, 24)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def time_bars(figures: Mapping[str, object], budgets: Sequence[Budget] = ()) -> list[PlotBar]:
    """The times of a measurement, each with the budget that it has."""
    bound = {budget.field_of(figures): budget for budget in budgets}
    bars = []
    for name, value in figures.items():
        if not name.endswith("_ms") or not isinstance(value, int | float):
            continue
        budget = bound.get(name)
        bars.append(
            PlotBar(
                name.removesuffix("_ms").replace("_", " "),
                float(value),
                f"{value:,.3g} ms",
                budget.bound_ms if budget is not None else None,
                budget.is_kept(figures) if budget is not None else None,
            )
        )
    return bars


def _text(text: str, width: int = 200) -> str:
    return escape(cut(safe_text(text, 1_000), width))
