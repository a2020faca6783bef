"""Differences and versions of a policy as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.policy_files import Change


def _coloured(change: object) -> Style:
    match change:
        case "added":
            return "good"
        case "removed":
            return "bad"
        case _:
            return "warn"


CHANGE_COLUMNS = (
    Column("name", style=lambda _: "name"),
    Column("change", style=_coloured),
    Column("what"),
    Column("before", flexible=True),
    Column("after", flexible=True),
)

REVISION_COLUMNS = (
    Column("revision", kind="number"),
    Column("at", kind="time"),
    Column("by"),
    Column("rules", kind="number"),
    Column("change", flexible=True),
)


def change_rows(changes: Sequence[Change]) -> list[Record]:
    """Differences as JSON output shows them."""
    return [
        {
            "change": item.change,
            "what": item.what,
            "name": item.name,
            "before": item.before or None,
            "after": item.after or None,
        }
        for item in changes
    ]


def revision_row(document: PolicyDocument) -> Record:
    """A revision as JSON output shows it."""
    return {
        "revision": document.revision,
        "at": moment(document.changed_at),
        "by": document.changed_by or None,
        "rules": len(document.rules),
        "change": document.change or None,
    }
