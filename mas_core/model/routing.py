"""Routing rules: which agents get what is sent to a capability or to a route, and how one of them is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from mas_core.errors import UsageError

Strategy = Literal["least_loaded", "round_robin", "weighted", "best_match", "sticky"]

STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
CAPABILITY: Final = "capability:"
ROUTE: Final = "route:"
ANY_ROUTE: Final = f"{ROUTE}*"
"""The target that the first fitting rule decides about."""
ROLE: Final = "role:"
ROUTED: Final = (CAPABILITY, ROUTE)
"""What targets begin with that stand for whichever agent is chosen."""


class RoutingRule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who gets messages of some types, or what is sent to a capability."""

    to: tuple[str, ...]
    """Agents, `role:NAME` or `capability:NAME`: one of them all gets each message."""
    type: str = "*"
    """Glob over message types."""
    capability: str = ""
    """It decides about what is sent to this capability; empty: about what is sent to its route."""
    strategy: Strategy = "least_loaded"
    weights: dict[str, int] = {}
    """Agent -> its share of the messages; 1 where nothing is said, and 0 gets none."""
    key: str = ""
    """Of sticky: JSON Pointer of what goes to the same agent each time; empty for the sender."""
    source: str = "cli"
    """Where it came from, as for rules."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The capabilities that it sends to."""
        return tuple(name.removeprefix(CAPABILITY) for name in self.to if name.startswith(CAPABILITY))


class Candidate(msgspec.Struct, frozen=True):
    """An agent that may get a message."""

    id: str
    capabilities: tuple[str, ...] = ()
    instances: int = 1
    active: int = 1
    """Instances that take new messages."""
    load: int = 0
    """Messages in hand in all instances, by their last heartbeats."""


class Candidates(msgspec.Struct, frozen=True):
    """What a gateway answers who asks where a message may go."""

    route: str = ""
    """Name of the rule; empty where none speaks of it."""
    rule: RoutingRule | None = None
    """None when there is no such route."""
    agents: tuple[Candidate, ...] = ()
    """Those that run, and that the sender may send it to."""


class Way(msgspec.Struct, frozen=True):
    """One agent that a message may go to, and why it has its place among them."""

    agent: str
    why: str


def in_precedence(rules: Mapping[str, RoutingRule]) -> dict[str, RoutingRule]:
    """The rules in the order in which they are asked: those first that spell out more of the type, then by name."""

    def rank(item: tuple[str, RoutingRule]) -> tuple[int, str]:
        name, rule = item
        spelled_out = sum(character not in "*?" for character in rule.type)
        return -2 * spelled_out - (spelled_out == len(rule.type)), name

    return dict(sorted(rules.items(), key=rank))


def find_rule(
    rules: dict[str, RoutingRule], fits: dict[str, bool], target: str
) -> tuple[str, RoutingRule | None]:
    """The rule that decides about what is sent to a target.

    Args:
        rules: Name -> rule in the order of `in_precedence`; the first that fits decides.
        fits: Name -> whether the rule speaks of the type of the message.
        target: `capability:NAME`, `route:NAME` or `route:*`.

    Returns:
        Its name and the rule; without a rule for it a capability is what it says, and a route is None.
    """
    capability = target.removeprefix(CAPABILITY) if target.startswith(CAPABILITY) else ""
    if not capability and target != ANY_ROUTE:
        name = target.removeprefix(ROUTE)
        return name, rules.get(name) if fits.get(name) else None
    for name, rule in rules.items():
        if rule.capability == capability and fits[name]:
            return name, rule
    return "", RoutingRule(to=(target,)) if capability else None


def check_strategy(text: str) -> Strategy:
    """The strategy of this name.

    Raises:
        UsageError: There is none.
    """
    for name in STRATEGIES:
        if text == name:
            return name
    raise UsageError(f"{text!r} is no strategy", hint=f"use one of {', '.join(STRATEGIES)}")
