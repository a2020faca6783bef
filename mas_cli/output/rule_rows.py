"""Access rules as rows."""

from __future__ import annotations

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment
from mas_core.model.policy import Rule


def _coloured(effect: object) -> Style:
    match effect:
        case "deny":
            return "bad"
        case "hold":
            return "warn"
        case _:
            return "good"


RULE_COLUMNS = (
    Column("id"),
    Column("effect", style=_coloured),
    Column("from"),
    Column("to"),
    Column("type", flexible=True),
    Column("action"),
    Column("expires", kind="time"),
    Column("source", flexible=True),
    Column("reason", flexible=True),
)


def rule_row(rule: Rule) -> Record:
    """A rule as JSON output shows it."""
    return {
        "id": rule.id,
        "effect": rule.effect,
        "from": rule.sender,
        "to": rule.target,
        "type": rule.type,
        "action": rule.action,
        "expires": moment(rule.expires),
        "source": rule.source,
        "reason": rule.reason,
        "by": rule.by,
        "created": moment(rule.created),
    }
