"""Who may send to whom, at one look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from mas_core.model.policy import ANYONE, PolicyDocument
from mas_core.security.access import AccessPolicy, CompiledRule

Reach = Literal["all", "some", "held", "denied", "none"]
"""What passes from one agent to another: every message, messages of some types or of one action only, what a
person approves; nothing because a rule forbids it, or nothing because no rule speaks of it."""

_WHOLE: Final[dict[str, Reach]] = {"allow": "all", "hold": "held", "deny": "denied"}


def matrix(
    document: PolicyDocument, agents: Sequence[str], now_ms: int
) -> dict[tuple[str, str], tuple[Reach, str]]:
    """For every two agents what passes from the first to the second, and the rule that says most about it.

    Args:
        document: The policy.
        agents: Their ids.
        now_ms: Unix milliseconds; rules that have ended do not count.
    """
    policy = AccessPolicy(document)
    by_pair: dict[tuple[str, str], list[CompiledRule]] = {}
    for compiled in sorted(policy.rules, key=lambda compiled: compiled.place):
        if compiled.is_live(now_ms):
            by_pair.setdefault((compiled.rule.sender, compiled.rule.target), []).append(compiled)
    names = {agent: policy.names_of(agent) for agent in agents}
    found = {}
    for sender in agents:
        for target in agents:
            rules = [
                rule
                for one in names[sender]
                for other in names[target]
                for rule in by_pair.get((one, other), ())
            ]
            if policy.is_open:
                rules = [rule for rule in rules if rule.rule.id.startswith("block:")]
            found[sender, target] = _reach(sorted(rules, key=lambda rule: rule.place), policy)
    return found


def _reach(rules: Sequence[CompiledRule], policy: AccessPolicy) -> tuple[Reach, str]:
    whole = next((rule for rule in rules if rule.rule.type == ANYONE and rule.rule.action == ANYONE), None)
    base: Reach = "none"
    if whole is not None:
        base = _WHOLE[whole.rule.effect]
    elif policy.is_open:
        base = "all"
    # Only what is stronger than the rule for everything can take something from it or add to it.
    stronger = rules[: rules.index(whole)] if whole is not None else rules
    other = next((rule for rule in stronger if _WHOLE[rule.rule.effect] != base), None)
    if other is not None and not (base in ("none", "denied") and other.rule.effect == "deny"):
        return "some", other.rule.id
    return base, whole.rule.id if whole is not None else ""
