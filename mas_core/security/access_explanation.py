"""Why a message may go or not: the rule that decides, the rules that come close, and what would permit it."""

from __future__ import annotations

import difflib
from typing import Final, Literal

import msgspec

from mas_core.base.clock import rfc3339
from mas_core.model.policy import Rule
from mas_core.security.access import (
    AccessDecision,
    AccessPolicy,
    CompiledRule,
    Question,
    Strength,
    can_meet,
)

Aspect = Literal["effect", "expires", "action", "type", "target", "sender"]

MAX_NEAR_MISSES: Final = 5

_ASPECTS: Final[tuple[Aspect, ...]] = ("effect", "expires", "action", "type", "target", "sender")


_VERBS: Final = {
    Strength.BLOCK: "is a block, which wins over everything",
    Strength.DENY: "denies, and deny wins",
    Strength.TRUST: "trusts the sender",
    Strength.HOLD: "holds, and hold wins over allow",
}


class NearMiss(msgspec.Struct, frozen=True):
    """A rule that would have turned the decision but for one thing."""

    rule: Rule
    differs: Aspect
    detail: str


class Explanation(msgspec.Struct, frozen=True):
    """A decision with what led to it and what would turn it."""

    decision: AccessDecision
    rule: Rule | None
    """The rule that decided."""
    near_misses: tuple[NearMiss, ...] = ()
    """Best first."""
    fix: tuple[str, ...] = ()
    """Commands that together permit it; empty when it is permitted, or never can be."""


def explain(
    policy: AccessPolicy, sender: str, target: str, message_type: str, action: str, now_ms: int
) -> Explanation:
    """The decision with its rule, the rules that nearly turned it, and what would permit the message."""
    question = Question(sender, target, message_type, action, now_ms)
    deciding = policy.deciding_rule(question)
    decision = policy.in_words(question, deciding)
    misses = [miss for compiled in policy.rules if (miss := _near_miss(policy, compiled, question, deciding))]
    misses.sort(key=lambda miss: (_ASPECTS.index(miss.differs), -_likeness(miss, question)))
    return Explanation(
        decision,
        None if deciding is None else deciding.rule,
        tuple(misses[:MAX_NEAR_MISSES]),
        decision.fix,
    )


def _near_miss(
    policy: AccessPolicy, compiled: CompiledRule, question: Question, deciding: CompiledRule | None
) -> NearMiss | None:
    sender, target, message_type, action, now_ms = question
    rule = compiled.rule
    effect = "deny" if deciding is None else deciding.rule.effect
    if rule.effect == effect or policy.is_open or not can_meet(sender, target):
        return None
    found: list[tuple[Aspect, str]] = []
    if not compiled.is_live(now_ms):
        found.append(("expires", f"expired {rfc3339(rule.expires)}"))
    if not compiled.has_action(action):
        found.append(("action", f"is for {rule.action}, not {action}"))
    if not compiled.matches_type(message_type):
        found.append(("type", f"is for type {rule.type}, not {message_type}"))
    if rule.target not in policy.target_names(target):
        found.append(("target", f"is for target {rule.target}, not {target}"))
    if rule.sender not in policy.names_of(sender):
        found.append(("sender", f"is for sender {rule.sender}, not {sender}"))
    if not found and deciding is not None:
        found.append(("effect", f"is overruled: {deciding.rule.id} {_VERBS[deciding.strength]}"))
    elif deciding is not None and effect != "deny" and compiled.strength < deciding.strength:
        return None
    return NearMiss(rule, *found[0]) if len(found) == 1 else None


def _likeness(miss: NearMiss, question: Question) -> float:
    """How much the differing name looks like the wanted one: a slip of the pen comes first."""
    named, wanted = {
        "sender": (miss.rule.sender, question.sender),
        "target": (miss.rule.target, question.target),
        "type": (miss.rule.type, question.message_type),
    }.get(miss.differs, ("", ""))
    return difflib.SequenceMatcher(None, named, wanted).ratio()
