"""The table: a row for each thing that is measured, its target, what was measured, and whether it is met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Verdict = Literal["met", "missed", "shown", "not measured"]


class Row(msgspec.Struct):
    """One line. A round is one pass over product and baselines, in turn."""

    name: str
    target: str
    """In words; empty when the figure is only shown."""
    values: list[float] = []
    """What the target is about, by round."""
    unit: str = "x"
    """x for ratios."""
    at_least: float | None = None
    at_most: float | None = None
    figures: dict[str, float] = {}
    """What it was made of: medians over the rounds."""
    reason: str = ""
    """Why it was not measured."""
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values) if self.values else 0.0

    @property
    def verdict(self) -> Verdict:
        """Whether the median meets the target."""
        if self.reason or not self.values:
            return "not measured"
        if self.at_least is None and self.at_most is None:
            return "shown"
        is_met = (self.at_least is None or self.median >= self.at_least) and (
            self.at_most is None or self.median <= self.at_most
        )
        return "met" if is_met else "missed"

    @property
    def measured(self) -> str:
        """Median, and the smallest and the largest of the rounds."""
        if self.reason or not self.values:
            return self.reason or "nothing was measured"
        unit = "" if self.unit == "x" else f" {self.unit}"
        text = f"{self.median:.2f}{unit}"
        if len(self.values) > 1:
            text += f" ({min(self.values):.2f} to {max(self.values):.2f})"
        return text

    @property
    def details(self) -> str:
        """The figures behind it."""
        parts = [f"{name} {_number(value)}" for name, value in self.figures.items()]
        return "; ".join([*parts, self.note] if self.note else parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def not_measured(name: str, target: str, reason: str) -> Row:
    """A row that says why there is no figure."""
    return Row(name, target, reason=" ".join(reason.split())[:300])


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: statistics.median(figures[name] for figures in rounds if name in figures) for name in names}


def as_text(rows: Iterable[Row]) -> str:
    """The table for a terminal."""
    cells = [("what", "target", "measured", ""), *((r.name, r.target, r.measured, r.verdict) for r in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in cells
    )


def as_markdown(rows: Iterable[Row], title: str, facts: Iterable[str]) -> str:
    """The table for RESULTS.md."""
    lines = [
        f"## {title}",
        "",
        *facts,
        "",
        "| what | target | measured | | made of |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row.name, row.target, row.measured, row.verdict, row.details)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
