"""Routing rules of a policy document: which one decides about a message, whom it means, and changes to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from mas_core.base.ids import check_agent_id, check_capability
from mas_core.errors import RouteNotFound, UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.routing import CAPABILITY, ROLE, STRATEGIES, RoutingRule, find_rule, in_precedence
from mas_core.security.policy_changes import FILE_SOURCE, check_party
from mas_core.security.type_glob import check_glob, compile_glob

MAX_WEIGHT = 1_000_000


class Routing:
    """Answers from one policy document, which never changes; a new document gets a new object."""

    def __init__(self, document: PolicyDocument) -> None:
        self._rules = in_precedence(document.routing)
        self._roles = document.roles
        self._matches = {name: compile_glob(rule.type) for name, rule in document.routing.items()}

    def find(self, target: str, message_type: str) -> tuple[str, RoutingRule | None]:
        """Name and rule that decide about what is sent to `capability:NAME`, `route:NAME` or `route:*`."""
        return find_rule(
            self._rules, {name: matches(message_type) for name, matches in self._matches.items()}, target
        )

    def is_meant(self, rule: RoutingRule, agent_id: str, capabilities: Collection[str]) -> bool:
        """Whether a rule sends to an agent."""
        return any(
            name == agent_id
            or (name.startswith(CAPABILITY) and name.removeprefix(CAPABILITY) in capabilities)
            or (name.startswith(ROLE) and agent_id in self._roles.get(name.removeprefix(ROLE), ()))
            for name in rule.to
        )


def check_routing(document: PolicyDocument, name: str, rule: RoutingRule) -> None:
    """Make sure that a rule can be in the policy.

    Raises:
        UsageError: Something in it makes no sense.
        InvalidIdentifier: A name cannot be one.
        RoleNotFound: There is no such role.
    """
    check_agent_id(name)
    check_glob(rule.type)
    if rule.capability:
        check_capability(rule.capability)
    if not rule.to:
        raise UsageError(f"the route {name} leads nowhere", hint="name agents, role:NAME or capability:NAME")
    for party in rule.to:
        if party.startswith(CAPABILITY):
            check_capability(party.removeprefix(CAPABILITY))
        elif party == "*":
            raise UsageError("a route leads to agents, role:NAME or capability:NAME, and not to everybody")
        else:
            check_party(document, party)
    if rule.strategy not in STRATEGIES:
        raise UsageError(f"{rule.strategy!r} is no strategy", hint=f"use one of {', '.join(STRATEGIES)}")
    if rule.strategy == "best_match" and not rule.wanted:
        raise UsageError("best_match compares capabilities, and the route names none", hint="capability:NAME")
    if rule.weights and rule.strategy != "weighted":
        raise UsageError("only the strategy weighted has weights")
    for agent_id, weight in rule.weights.items():
        check_agent_id(agent_id)
        if not 0 <= weight <= MAX_WEIGHT:
            raise UsageError(f"the weight of {agent_id} is not between 0 and {MAX_WEIGHT:,}")
    if rule.key and rule.strategy != "sticky":
        raise UsageError("only the strategy sticky has a key")
    if rule.key and not rule.key.startswith("/"):
        raise UsageError(f"{rule.key!r} is no JSON Pointer", hint="/customer/id, or nothing for the sender")


def set_routing(document: PolicyDocument, name: str, rule: RoutingRule | None) -> PolicyDocument:
    """The document with another rule of this name; None takes it away.

    Raises:
        RouteNotFound: There is none to take away.
        UsageError, InvalidIdentifier, RoleNotFound: As for `check_routing`.
    """
    if rule is None:
        if name not in document.routing:
            raise RouteNotFound(f"there is no route {name}", hint="mas route list", route=name)
        rest = {other: kept for other, kept in document.routing.items() if other != name}
        return msgspec.structs.replace(document, routing=rest, change=f"route {name}: removed")
    check_routing(document, name, rule)
    if document.routing.get(name) == rule:
        return document
    change = f"route {name}: {rule.type} to {', '.join(rule.to)}, {rule.strategy}"
    return msgspec.structs.replace(document, routing={**document.routing, name: rule}, change=change)


def replace_file_routing(document: PolicyDocument, rules: Mapping[str, RoutingRule]) -> PolicyDocument:
    """The document with `rules` in place of all that came from files; what was given by command stays.

    Raises:
        UsageError, InvalidIdentifier, RoleNotFound: As for `check_routing`.
    """
    for name, rule in rules.items():
        check_routing(document, name, rule)
    given = {name: rule for name, rule in document.routing.items() if not rule.source.startswith(FILE_SOURCE)}
    routing = {**{name: rule for name, rule in rules.items() if name not in given}, **given}
    if routing == document.routing:
        return document
    return msgspec.structs.replace(document, routing=routing, change=f"load {len(rules)} routing rules")
