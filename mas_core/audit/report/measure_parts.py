"""What measures have in common."""

from __future__ import annotations

from typing import Final

from mas_core.audit.report.document import Gap
from mas_core.audit.report.facts import Facts

LISTED: Final = 100
"""Rows of a table of single events."""


def counted(count: int, what: str, many: str = "") -> str:
    """A number with what it counts: `1 token`, `2 tokens`."""
    return f"{count} {what if count == 1 else many or what + 's'}"


def unknown(facts: Facts, field: str, what: str) -> Gap:
    """The gap that opens where a fact could not be found out."""
    why = facts.unknown.get(field, "it was not asked for")
    return Gap(f"it is not known {what}: {why}", ("run the report where the gateway's keys are at hand",))


def left_out(count: int, what: str) -> str:
    """The note of a table that does not show everything; empty when it does."""
    return f"{count} {what} are not listed" if count > 0 else ""
