"""Why a message may go or not, in lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.output.safe_text import safe_text
from mas_core.model.policy import Rule

if TYPE_CHECKING:
    from mas_core.ops.rbac import AccessDecision, Explanation


def answer(decision: AccessDecision) -> str:
    """The decision in a word."""
    return "yes" if decision.allowed else "held" if decision.held else "no"


def explained(found: Explanation) -> str:
    """The decision, its rule, what comes close, and what would change it."""
    lines = [f"{answer(found.decision)}: {safe_text(found.decision.reason)}"]
    if found.rule is not None:
        lines.append(f"rule     {_rule_in_words(found.rule)}")
    for index, miss in enumerate(found.near_misses):
        label = "" if index else "closest"
        lines.append(f"{label:<8} {_rule_in_words(miss.rule)}, which {safe_text(miss.detail)}")
    for index, command in enumerate(found.fix):
        label = "" if index else "try"
        lines.append(f"{label:<8} {safe_text(command)}")
    return "\n".join(lines)


def _rule_in_words(rule: Rule) -> str:
    verb = f"{rule.action} " if rule.action != "*" else ""
    return safe_text(f"{rule.id} {rule.effect} {rule.sender} -> {rule.target} {verb}{rule.type}")
