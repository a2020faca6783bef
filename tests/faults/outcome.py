"""What a row of the table says, and how the table is printed; the same for every run of the harness."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What was counted under one fault.

    Violations are: lost, duplicated, unaudited, undelivered, errors and broken.
    """

    row: str
    fault: str
    runs: int = 0
    """How often the fault was injected."""
    acknowledged: int = 0
    lost: int = 0
    """Acknowledged, and neither handled nor among the dead letters."""
    duplicated: int = 0
    """The same attempt handled more than once although no handler's process had died."""
    unaudited: int = 0
    """Handled without a record that allows it."""
    undelivered: int = 0
    """Recorded as allowed, and neither handled nor among the dead letters; or recorded more than once."""
    redelivered: int = 0
    """Handled again because the process that had it died; what at-least-once delivery means."""
    errors: int = 0
    """Failures that no sender should see."""
    broken: int = 0
    """Whatever else a row counts as a violation."""
    recovery_ms: list[float] = field(default_factory=list)
    """From each fault to the first message that was sent and acknowledged after it."""
    seconds: float = 0.0
    notes: str = ""
    skipped: str = ""
    """Why the row was not run here."""
    offending: list[str] = field(default_factory=list)
    """The first ids that were counted as violations, with what ledgers and audit say of them."""
    figures: dict[str, float] = field(default_factory=dict)
    """What else was measured."""

    @property
    def violations(self) -> int:
        """How many promises were not kept."""
        return self.lost + self.duplicated + self.unaudited + self.undelivered + self.errors + self.broken

    def as_json(self) -> dict[str, object]:
        """For files; the recovery times as percentiles."""
        facts = asdict(self)
        facts["recovery_ms"] = {
            "count": len(self.recovery_ms),
            "p50": percentile(self.recovery_ms, 0.5),
            "p99": percentile(self.recovery_ms, 0.99),
            "max": max(self.recovery_ms, default=None),
        }
        return {**facts, "violations": self.violations}


@dataclass(frozen=True)
class Options:
    """How a row is run."""

    runs: int
    seed: int
    folder: Path
    """Of its own, and empty."""
    seconds: float = 0.0
    """Of a soak: how long."""
    is_slice: bool = False
    """Whether this is the short run of continuous integration."""


@dataclass(frozen=True)
class Row:
    """One row: a fault, how often it is injected, and what does it."""

    name: str
    """Such as r1; several parts of a row are r2-gateway, r2-agent."""
    fault: str
    run: Callable[[Options], Awaitable[Outcome]]
    full: int
    """How often in a full run."""
    slice: int
    """How often in continuous integration; 0 leaves it out there."""


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which this share lies; None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def sort_key(name: str) -> tuple[int, str]:
    """Rows by their number."""
    found = re.match(r"r([0-9]+)", name)
    return (int(found[1]) if found else 99, name)


_COLUMNS: Mapping[str, Callable[[Outcome], str]] = {
    "row": lambda item: item.row,
    "fault": lambda item: item.fault,
    "runs": lambda item: f"{item.runs:,}",
    "acknowledged": lambda item: f"{item.acknowledged:,}",
    "lost": lambda item: f"{item.lost:,}",
    "duplicated": lambda item: f"{item.duplicated:,}",
    "unaudited": lambda item: f"{item.unaudited:,}",
    "undelivered": lambda item: f"{item.undelivered:,}",
    "other": lambda item: f"{item.errors + item.broken:,}",
    "redelivered": lambda item: f"{item.redelivered:,}",
    "p50": lambda item: _seconds(percentile(item.recovery_ms, 0.5)),
    "p99": lambda item: _seconds(percentile(item.recovery_ms, 0.99)),
    "notes": lambda item: f"skipped: {item.skipped}" if item.skipped else item.notes,
}


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a table that is Markdown as well."""
    rows = [
        [show(item) for show in _COLUMNS.values()]
        for item in sorted(outcomes, key=lambda item: sort_key(item.row))
    ]
    titles = list(_COLUMNS)
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if at in (0, 1, len(titles) - 1) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    return "\n".join(
        [line(titles), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]
    )


def _seconds(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.2f} s"
