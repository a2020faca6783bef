"""The table as a picture: how far each row is beyond its target, or short of it."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.table import Row
from mas_cli.output.bar_plot import PlotBar, bars_svg

LONGEST = 4.0
"""Times the target; longer bars are cut, and their figure tells."""


def as_svg(rows: Iterable[Row], title: str) -> str:
    """A bar for each row that has a target: 1, where the line is, is just met."""
    bars = []
    for row in rows:
        if row.verdict not in ("met", "missed") or not row.median:
            continue
        ratio = (
            row.at_most / row.median if row.at_most is not None else row.median / (row.at_least or row.median)
        )
        unit = "x" if row.unit == "x" else f" {row.unit}"
        target = row.at_most if row.at_most is not None else row.at_least
        relation = "≤" if row.at_most is not None else "≥"
        told = f"{row.median:.3g}{unit}, {relation} {target:g}{unit}"
        bars.append(PlotBar(row.name, min(LONGEST, ratio), told, 1.0, row.verdict == "met"))
    told = "how far each measure is beyond its target: bars that reach the line meet it; medians of one run"
    return bars_svg(title, told, bars)
