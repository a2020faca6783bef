"""Who may send what to whom: the rules of a policy document, compiled.

Deny wins over allow, and nothing is allowed without a rule. Whether sender and target are registered is not
asked here: `*` in a rule stands for every id that an agent can have, and the caller looks up the agent.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from mas_core.base.clock import rfc3339
from mas_core.base.ids import AGENT_ID, MESSAGE_TYPE
from mas_core.errors import ConfigurationError
from mas_core.model.policy import ANYONE, PolicyDocument, Rule
from mas_core.security.type_glob import TYPE_GLOB, compile_glob, glob_covers

Action = Literal["send", "request"]
Aspect = Literal["effect", "expires", "action", "type", "target", "sender"]

ACTIONS: Final[tuple[Action, ...]] = ("send", "request")
MAX_CACHED_DECISIONS: Final = 20_000
MAX_NEAR_MISSES: Final = 5

_ASPECTS: Final[tuple[Aspect, ...]] = ("effect", "expires", "action", "type", "target", "sender")
PARTY = re.compile(rf"\*|(?:role:)?{AGENT_ID.pattern}")
"""What a rule may name as sender or target."""


class AccessDecision(msgspec.Struct, frozen=True):
    """Whether a message may go, by which rule, and why in words."""

    allowed: bool
    rule_id: str
    """Empty when no rule speaks of it."""
    reason: str


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


class _Question(NamedTuple):
    sender: str
    target: str
    message_type: str
    action: str
    now_ms: int


class _CompiledRule:
    __slots__ = ("matches_type", "order", "rule")

    def __init__(self, rule: Rule, order: int) -> None:
        if rule.effect not in ("allow", "deny") or rule.action not in (*ACTIONS, ANYONE):
            raise ConfigurationError(f"rule {rule.id} of the policy has an unknown effect or action")
        if not (PARTY.fullmatch(rule.sender) and PARTY.fullmatch(rule.target)):
            raise ConfigurationError(f"rule {rule.id} of the policy names neither agent, role:NAME nor *")
        if not TYPE_GLOB.fullmatch(rule.type):
            raise ConfigurationError(f"rule {rule.id} of the policy has no pattern for message types")
        self.rule = rule
        self.order = order
        self.matches_type = compile_glob(rule.type)

    def is_live(self, now_ms: int) -> bool:
        return not self.rule.expires or now_ms < self.rule.expires

    def has_action(self, action: str) -> bool:
        return self.rule.action in (ANYONE, action)


class AccessPolicy:
    """Answers from one policy document, which never changes; a new document gets a new object.

    Raises:
        ConfigurationError: A rule of the document makes no sense.
    """

    def __init__(self, document: PolicyDocument) -> None:
        self._rules = [_CompiledRule(rule, order) for order, rule in enumerate(document.rules)]
        self._by_pair: dict[tuple[str, str], list[_CompiledRule]] = {}
        for compiled in self._rules:
            pair = (compiled.rule.sender, compiled.rule.target)
            self._by_pair.setdefault(pair, []).append(compiled)
        self._names: dict[str, tuple[str, ...]] = {}
        for role, members in document.roles.items():
            for agent_id in dict.fromkeys(members):
                self._names[agent_id] = (*self._names.get(agent_id, (agent_id, ANYONE)), f"role:{role}")
        # A cached answer holds from the time it was found until the rule behind it expires.
        self._cache: dict[tuple[str, str, str, str], tuple[int, float, AccessDecision]] = {}

    def decide(
        self, sender: str, target: str, message_type: str, action: Action, now_ms: int
    ) -> AccessDecision:
        """Whether the message may go at `now_ms` (Unix milliseconds)."""
        key = (sender, target, message_type, action)
        cached = self._cache.get(key)
        if cached is not None and cached[0] <= now_ms < cached[1]:
            return cached[2]
        question = _Question(sender, target, message_type, action, now_ms)
        rule = self._deciding_rule(question)
        decision = _in_words(question, rule)
        if len(self._cache) >= MAX_CACHED_DECISIONS:
            self._cache.clear()
        valid_until = rule.expires if rule is not None and rule.expires else float("inf")
        self._cache[key] = (now_ms, valid_until, decision)
        return decision

    def explain(
        self, sender: str, target: str, message_type: str, action: Action, now_ms: int
    ) -> Explanation:
        """The decision with its rule, the rules that nearly turned it, and what would permit the message."""
        question = _Question(sender, target, message_type, action, now_ms)
        rule = self._deciding_rule(question)
        misses = [miss for compiled in self._rules if (miss := self._near_miss(compiled, question, rule))]
        misses.sort(key=lambda miss: (_ASPECTS.index(miss.differs), -_likeness(miss, question)))
        return Explanation(
            _in_words(question, rule),
            rule,
            tuple(misses[:MAX_NEAR_MISSES]),
            self.fix(sender, target, message_type, action, now_ms),
        )

    def fix(
        self, sender: str, target: str, message_type: str, action: Action, now_ms: int
    ) -> tuple[str, ...]:
        """The commands that together permit the message; none when it is permitted, or never can be."""
        if not (_are_agents(sender, target) and MESSAGE_TYPE.fullmatch(message_type)):
            return ()
        question = _Question(sender, target, message_type, action, now_ms)
        live = [compiled.rule for compiled in self._matching(question) if compiled.is_live(now_ms)]
        commands = [f"mas rbac revoke {shlex.quote(rule.id)}" for rule in live if rule.effect == "deny"]
        if all(rule.effect == "deny" for rule in live):
            commands.append(f"mas rbac allow {sender} {target} --type {shlex.quote(message_type)}")
        return tuple(commands)

    def may_see(self, viewer: str, other: str, now_ms: int) -> bool:
        """Whether a live rule lets `viewer` send anything at all to `other`.

        An allow rule does not count when one deny rule takes back all that it gives. Several deny rules that
        do so only together are not seen, so the answer can be yes where nothing is left, never the reverse.
        """
        live = [compiled for compiled in self._between(viewer, other) if compiled.is_live(now_ms)]
        denied = [compiled for compiled in live if compiled.rule.effect == "deny"]
        return any(
            compiled.has_action(action)
            and not any(
                deny.has_action(action) and glob_covers(deny.rule.type, compiled.rule.type) for deny in denied
            )
            for compiled in live
            if compiled.rule.effect == "allow"
            for action in ACTIONS
        )

    def _names_of(self, agent_id: str) -> tuple[str, ...]:
        return self._names.get(agent_id) or (agent_id, ANYONE)

    def _between(self, sender: str, target: str) -> Iterator[_CompiledRule]:
        """Every rule about this pair."""
        if not _are_agents(sender, target):
            return
        target_names = self._names_of(target)
        for sender_name in self._names_of(sender):
            for target_name in target_names:
                yield from self._by_pair.get((sender_name, target_name), ())

    def _matching(self, question: _Question) -> list[_CompiledRule]:
        """Every rule about this message, live or not, in the order of the document."""
        found = [
            compiled
            for compiled in self._between(question.sender, question.target)
            if compiled.has_action(question.action) and compiled.matches_type(question.message_type)
        ]
        return sorted(found, key=lambda compiled: compiled.order)

    def _deciding_rule(self, question: _Question) -> Rule | None:
        allowing: Rule | None = None
        for compiled in self._matching(question):
            if not compiled.is_live(question.now_ms):
                continue
            if compiled.rule.effect == "deny":
                return compiled.rule
            allowing = allowing or compiled.rule
        return allowing

    def _near_miss(
        self, compiled: _CompiledRule, question: _Question, deciding: Rule | None
    ) -> NearMiss | None:
        sender, target, message_type, action, now_ms = question
        rule = compiled.rule
        is_allowed = deciding is not None and deciding.effect == "allow"
        if rule.effect != ("deny" if is_allowed else "allow") or not _are_agents(sender, target):
            return None
        found: list[tuple[Aspect, str]] = []
        if not compiled.is_live(now_ms):
            found.append(("expires", f"expired {rfc3339(rule.expires)}"))
        if not compiled.has_action(action):
            found.append(("action", f"is for {rule.action}, not {action}"))
        if not compiled.matches_type(message_type):
            found.append(("type", f"is for type {rule.type}, not {message_type}"))
        if rule.target not in self._names_of(target):
            found.append(("target", f"is for target {rule.target}, not {target}"))
        if rule.sender not in self._names_of(sender):
            found.append(("sender", f"is for sender {rule.sender}, not {sender}"))
        if not found and deciding is not None:
            found.append(("effect", f"is overruled: {deciding.id} denies, and deny wins"))
        return NearMiss(rule, *found[0]) if len(found) == 1 else None


def _are_agents(*names: str) -> bool:
    return all(AGENT_ID.fullmatch(name) for name in names)


def _in_words(question: _Question, rule: Rule | None) -> AccessDecision:
    if rule is not None and rule.effect == "allow":
        return AccessDecision(allowed=True, rule_id=rule.id, reason=f"allowed by rule {rule.id}")
    what = f"{question.sender} may not {question.action} {question.message_type} to {question.target}"
    if rule is None:
        return AccessDecision(allowed=False, rule_id="", reason=f"no rule allows it: {what}")
    because = f" ({rule.reason})" if rule.reason else ""
    return AccessDecision(allowed=False, rule_id=rule.id, reason=f"rule {rule.id}{because} denies it: {what}")


def _likeness(miss: NearMiss, question: _Question) -> float:
    """How much the differing name looks like the wanted one: a slip of the pen comes first."""
    named, wanted = {
        "sender": (miss.rule.sender, question.sender),
        "target": (miss.rule.target, question.target),
        "type": (miss.rule.type, question.message_type),
    }.get(miss.differs, ("", ""))
    return difflib.SequenceMatcher(None, named, wanted).ratio()
