"""Who may send what to whom: a policy document, compiled.

A block wins over everything, then deny over trust, trust over hold, hold over allow, and nothing passes
without a rule. Whether sender and target are registered is not asked here: `*` in a rule stands for every id
that an agent can have, and the caller looks up the agent.

Rules are filed by sender, target, action and the fixed part of their pattern for types, so that a question
looks at the few that may answer it, however many there are; answers are kept.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from mas_core.base.ids import AGENT_ID, MESSAGE_TYPE
from mas_core.base.resources import (
    ACTIONS_ON,
    RESOURCE_PATTERN,
    TARGET,
    action_on,
    is_resource,
    kind_of,
    matches,
)
from mas_core.errors import ConfigurationError
from mas_core.model.policy import ANYONE, EFFECTS, PolicyDocument, Rule
from mas_core.security.fair_cache import FairCache
from mas_core.security.type_glob import TYPE_GLOB, compile_glob, glob_covers
from mas_core.security.type_index import TypeIndex

Outcome = Literal["allowed", "held", "denied"]

ACTIONS: Final = ("send", "request")
"""What can be done to an agent; for resources see `mas_core.base.resources.ACTIONS_ON`."""
OBSERVE: Final = "observe"
"""What whoever may do something else to a resource may do as well."""
BLOCK: Final = "block:"
"""What the id of the rule starts with that a block stands for."""
TRUST: Final = "trust:"
"""What the id of the rule starts with that trust stands for."""
OPEN_REASON: Final = "the access rules are switched off"

PARTY = re.compile(rf"\*|(?:role:)?{AGENT_ID.pattern}")
"""What a rule may name as sender: `*` stands for every agent."""
TARGET_PARTY = re.compile(rf"{PARTY.pattern}|{RESOURCE_PATTERN.pattern}")
"""What a rule may name as target: resources are named by their kind, and never meant by `*`."""


class Strength:
    """Which of two rules wins: the stronger one, and of equals the earlier one."""

    ALLOW: Final = 0
    HOLD: Final = 1
    TRUST: Final = 2
    DENY: Final = 3
    BLOCK: Final = 4


_STRENGTHS = dict(zip(EFFECTS, (Strength.ALLOW, Strength.HOLD, Strength.DENY), strict=True))


class AccessDecision(msgspec.Struct, frozen=True):
    """Whether a message may go, by which rule, and why in words."""

    allowed: bool
    """It passes as it is."""
    rule_id: str
    """Empty when no rule speaks of it."""
    reason: str
    held: bool = False
    """It passes once a person has approved it; `allowed` is false."""
    fix: tuple[str, ...] = ()
    """Commands that together permit it; empty when it is permitted, or never can be."""

    @property
    def outcome(self) -> Outcome:
        """The decision in one word."""
        return "allowed" if self.allowed else "held" if self.held else "denied"


class Question(NamedTuple):
    """What is asked about one message."""

    sender: str
    target: str
    message_type: str
    action: str
    now_ms: int


class CompiledRule:
    """A rule with its place in the order of precedence.

    Raises:
        ConfigurationError: It makes no sense.
    """

    __slots__ = ("matches_type", "order", "place", "rule", "strength")

    def __init__(self, rule: Rule, order: int, strength: int | None = None) -> None:
        if not (PARTY.fullmatch(rule.sender) and TARGET_PARTY.fullmatch(rule.target)):
            raise ConfigurationError(f"rule {rule.id} of the policy names neither agent, role:NAME nor *")
        if rule.effect not in effects_on(rule.target) or rule.action not in (
            *actions_on(rule.target),
            ANYONE,
        ):
            raise ConfigurationError(f"rule {rule.id} of the policy has an unknown effect or action")
        if not TYPE_GLOB.fullmatch(rule.type):
            raise ConfigurationError(f"rule {rule.id} of the policy has no pattern for message types")
        self.rule = rule
        self.order = order
        self.strength = _STRENGTHS[rule.effect] if strength is None else strength
        self.place = (-self.strength, order)
        self.matches_type = compile_glob(rule.type)

    def is_live(self, now_ms: int) -> bool:
        """Whether it counts at this time."""
        return not self.rule.expires or now_ms < self.rule.expires

    def has_action(self, action: str) -> bool:
        """Whether it speaks of this action."""
        return self.rule.action in (ANYONE, action)


class AccessPolicy:
    """Answers from one policy document, which never changes; a new document gets a new object.

    Raises:
        ConfigurationError: A rule of the document makes no sense.
    """

    def __init__(self, document: PolicyDocument) -> None:
        self.rules = tuple(_compiled(document))
        """Every rule, what blocks and trust stand for included."""
        self.is_open = not document.features.rbac
        """Whether only blocks count, because the access rules are switched off."""
        counting = [rule for rule in self.rules if not self.is_open or rule.strength == Strength.BLOCK]
        self._filed: dict[tuple[str, str], dict[str, TypeIndex[CompiledRule]]] = {}
        for compiled in sorted(counting, key=lambda rule: rule.place):
            rule = compiled.rule
            for action in _filed_under(rule):
                targets = self._filed.setdefault((rule.sender, action), {})
                targets.setdefault(rule.target, TypeIndex()).add(rule.type, compiled)
        self._between: dict[tuple[str, str], list[CompiledRule]] = {}
        for compiled in counting:
            pair = (compiled.rule.sender, compiled.rule.target)
            self._between.setdefault(pair, []).append(compiled)
        self._patterns = tuple({rule.rule.target for rule in counting if is_resource(rule.rule.target)})
        self._blocks = {rule.id.removeprefix(BLOCK): rule for rule in document.block_rules()}
        self._names: dict[str, tuple[str, ...]] = {}
        for role, members in document.roles.items():
            for agent_id in dict.fromkeys(members):
                self._names[agent_id] = (*self._names.get(agent_id, (agent_id, ANYONE)), f"role:{role}")
        # A kept answer holds from the time it was found until the rule behind it expires.
        self._decisions: FairCache[tuple[int, float, AccessDecision]] = FairCache()
        self._kept = self._decisions.answers
        self._pairs: FairCache[tuple[TypeIndex[CompiledRule], ...]] = FairCache()

    def decide(self, sender: str, target: str, message_type: str, action: str, now_ms: int) -> AccessDecision:
        """Whether the message may go at `now_ms` (Unix milliseconds)."""
        key = (sender, target, message_type, action)
        kept = self._kept.get(key)
        if kept is not None and kept[0] <= now_ms < kept[1]:
            return kept[2]
        question = Question(sender, target, message_type, action, now_ms)
        rule = self.deciding_rule(question)
        decision = self.in_words(question, rule)
        valid_until = rule.rule.expires if rule is not None and rule.rule.expires else float("inf")
        self._decisions.keep(key, (now_ms, valid_until, decision))
        return decision

    def deciding_rule(self, question: Question) -> CompiledRule | None:
        """The strongest live rule about the message; None when no rule speaks of it."""
        sender, target, message_type, action, now_ms = question
        best: CompiledRule | None = None
        for index in self._indexes(sender, target, action):
            for rules in index.lists(message_type):
                for compiled in rules:
                    if best is not None and best.place <= compiled.place:
                        break
                    if compiled.is_live(now_ms) and compiled.matches_type(message_type):
                        best = compiled
                        break
        return best

    def in_words(self, question: Question, deciding: CompiledRule | None) -> AccessDecision:
        """The decision that a rule, or that none speaks of it, leads to."""
        what = f"{question.sender} may not {question.action} {question.message_type} to {question.target}"
        if deciding is None:
            if self.is_open and can_meet(question.sender, question.target):
                return AccessDecision(allowed=True, rule_id="", reason=OPEN_REASON)
            return AccessDecision(False, "", f"no rule allows it: {what}", fix=self.fix(question))
        rule = deciding.rule
        if rule.effect == "allow":
            return AccessDecision(allowed=True, rule_id=rule.id, reason=f"allowed by rule {rule.id}")
        because = f" ({rule.reason})" if rule.reason else ""
        if rule.effect == "hold":
            reason = f"rule {rule.id}{because} holds it until a person approves it"
        elif deciding.strength == Strength.BLOCK:
            reason = f"{rule.id.removeprefix(BLOCK)} is blocked{because}: {what}"
        else:
            reason = f"rule {rule.id}{because} denies it: {what}"
        return AccessDecision(False, rule.id, reason, held=rule.effect == "hold", fix=self.fix(question))

    def block_between(self, sender: str, target: str, now_ms: int) -> Rule | None:
        """The block of either of the two."""
        for rule in (self._blocks.get(sender), self._blocks.get(target)):
            if rule is not None and (not rule.expires or now_ms < rule.expires):
                return rule
        return None

    def fix(self, question: Question) -> tuple[str, ...]:
        """The commands that together permit the message; none when it is permitted, or never can be."""
        sender, target, message_type, _, now_ms = question
        if not (can_meet(sender, target) and MESSAGE_TYPE.fullmatch(message_type)):
            return ()
        live = [compiled for compiled in self._matching(question) if compiled.is_live(now_ms)]
        is_trusted = any(compiled.strength == Strength.TRUST for compiled in live)
        in_the_way = [
            compiled
            for compiled in live
            if compiled.rule.effect == "deny" or (compiled.rule.effect == "hold" and not is_trusted)
        ]
        commands = list(dict.fromkeys(_undoing(compiled) for compiled in in_the_way))
        if not self.is_open and all(compiled.rule.effect != "allow" for compiled in live):
            what = (
                f"--action {action_on(target, message_type)}"
                if is_resource(target)
                else f"--type {shlex.quote(message_type)}"
            )
            commands.append(f"mas rbac allow {sender} {target} {what}")
        return tuple(commands)

    def may_see(self, viewer: str, other: str, now_ms: int) -> bool:
        """Whether a live rule lets `viewer` send anything at all to `other`.

        A rule does not count when one deny rule takes back all that it gives. Several deny rules that do so
        only together are not seen, so the answer can be yes where nothing is left, never the reverse.
        """
        live = [compiled for compiled in self.between(viewer, other) if compiled.is_live(now_ms)]
        denied = [compiled for compiled in live if compiled.rule.effect == "deny"]
        if self.is_open:
            return not denied and are_agents(viewer, other)
        return any(
            compiled.has_action(action)
            and not any(
                deny.has_action(action) and glob_covers(deny.rule.type, compiled.rule.type) for deny in denied
            )
            for compiled in live
            if compiled.rule.effect != "deny"
            for action in ACTIONS
        )

    def names_of(self, agent_id: str) -> tuple[str, ...]:
        """What rules may call this agent: its id, `*` and its roles."""
        return self._names.get(agent_id) or (agent_id, ANYONE)

    def target_names(self, target: str) -> tuple[str, ...]:
        """What rules may call this target."""
        if is_resource(target):
            return tuple(pattern for pattern in self._patterns if matches(pattern, target))
        return self.names_of(target)

    def between(self, sender: str, target: str) -> Iterator[CompiledRule]:
        """Every rule about this pair, of any type and action, live or not."""
        if not can_meet(sender, target):
            return
        target_names = self.target_names(target)
        for sender_name in self.names_of(sender):
            for target_name in target_names:
                yield from self._between.get((sender_name, target_name), ())

    def _indexes(self, sender: str, target: str, action: str) -> tuple[TypeIndex[CompiledRule], ...]:
        """Where the rules about this pair and action are filed."""
        key = (sender, target, action)
        kept = self._pairs.answers.get(key)
        if kept is not None:
            return kept
        if not can_meet(sender, target):
            return ()
        target_names = self.target_names(target)
        found = tuple(
            index
            for name in self.names_of(sender)
            if (targets := self._filed.get((name, action)))
            for target_name in target_names
            if (index := targets.get(target_name)) is not None
        )
        self._pairs.keep(key, found)
        return found

    def _matching(self, question: Question) -> list[CompiledRule]:
        """Every rule about this message, live or not, in the order of the document."""
        message_type = question.message_type
        found = [
            compiled
            for index in self._indexes(question.sender, question.target, question.action)
            for rules in index.lists(message_type)
            for compiled in rules
            if compiled.matches_type(message_type)
        ]
        return sorted(found, key=lambda compiled: compiled.order)


def are_agents(*names: str) -> bool:
    """Whether each of these can be the id of an agent."""
    return all(AGENT_ID.fullmatch(name) for name in names)


def can_meet(sender: str, target: str) -> bool:
    """Whether one can be the id of an agent, and the other that of an agent or a resource."""
    return AGENT_ID.fullmatch(sender) is not None and TARGET.fullmatch(target) is not None


def actions_on(target: str) -> tuple[str, ...]:
    """What a rule can permit or deny whose target is this."""
    return ACTIONS_ON[kind_of(target)] if is_resource(target) else ACTIONS


def effects_on(target: str) -> tuple[str, ...]:
    """What a rule can do whose target is this; a machine cannot wait for a person."""
    return tuple(effect for effect in EFFECTS if effect != "hold") if is_resource(target) else EFFECTS


def _filed_under(rule: Rule) -> tuple[str, ...]:
    """The actions that a rule speaks of."""
    if rule.action == ANYONE:
        return actions_on(rule.target)
    if rule.effect == "allow" and is_resource(rule.target) and rule.action != OBSERVE:
        return (rule.action, OBSERVE)
    return (rule.action,)


def _compiled(document: PolicyDocument) -> Iterator[CompiledRule]:
    order = 0
    for rule in document.rules:
        yield CompiledRule(rule, order)
        order += 1
    for rule in (*document.trust_rules(), *document.block_rules()):
        strength = Strength.BLOCK if rule.effect == "deny" else Strength.TRUST
        yield CompiledRule(rule, order, strength)
        order += 1


def _undoing(compiled: CompiledRule) -> str:
    """The command that takes a rule away."""
    if compiled.strength == Strength.BLOCK:
        return f"mas agent unblock {shlex.quote(compiled.rule.id.removeprefix(BLOCK))}"
    return f"mas rbac revoke {shlex.quote(compiled.rule.id)}"
