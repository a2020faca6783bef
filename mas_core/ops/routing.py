"""Routing rules: which agents get what is sent to a capability or a route, and a look where something would go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mas_core.errors import UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.routing import (
    CAPABILITY,
    ROLE,
    ROUTED,
    Candidates,
    RoutingRule,
    Way,
    check_strategy,
    in_precedence,
)
from mas_core.ops.agents import require_agents
from mas_core.ops.messages import connected
from mas_core.ops.system import OPERATOR, System
from mas_core.registry.operator_log import named
from mas_core.security.routing import set_routing

__all__ = ["list_routes", "remove_route", "set_route", "try_route"]


async def list_routes(system: System) -> dict[str, RoutingRule]:
    """Name -> rule, in the order in which they are asked."""
    return in_precedence((await system.policy.load() or PolicyDocument()).routing)


@named("route.set", "name")
async def set_route(
    system: System,
    name: str,
    to: Sequence[str],
    *,
    message_type: str = "*",
    capability: str = "",
    strategy: str = "least_loaded",
    weights: Mapping[str, int] | None = None,
    key: str = "",
    dry_run: bool = False,
) -> RoutingRule:
    """Make a rule, or put another in its place; in force when this returns.

    Args:
        system: The system.
        name: Name of the rule; messages to `route:NAME` go by it.
        to: Agents, `role:NAME` or `capability:NAME`.
        message_type: Glob over the types that it speaks of.
        capability: It decides about what is sent to this capability, in place of what is sent to its route.
        strategy: least_loaded, round_robin, weighted, best_match or sticky.
        weights: Of weighted: agent -> share.
        key: Of sticky: JSON Pointer of what goes to the same agent each time; empty for the sender.
        dry_run: Change nothing.

    Raises:
        UsageError, InvalidIdentifier: Something of it makes no sense.
        AgentNotFound, RoleNotFound: It leads to an agent or a role that is not there.
    """
    rule = RoutingRule(
        tuple(dict.fromkeys(to)), message_type, capability, check_strategy(strategy), dict(weights or {}), key
    )
    set_routing(await system.policy.load() or PolicyDocument(), name, rule)
    agents = [party for party in rule.to if not party.startswith((CAPABILITY, ROLE))]
    await require_agents(system, *agents, *rule.weights)
    if not dry_run:
        await system.policy.change(lambda document: set_routing(document, name, rule))
    return rule


@named("route.remove", "name")
async def remove_route(system: System, name: str, *, dry_run: bool = False) -> None:
    """Take a rule away; in force when this returns.

    Raises:
        RouteNotFound: There is no such rule.
    """
    set_routing(await system.policy.load() or PolicyDocument(), name, None)
    if not dry_run:
        await system.policy.change(lambda document: set_routing(document, name, None))


async def try_route(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    expects_reply: bool = False,
) -> tuple[Candidates, list[Way]]:
    """Where a message would go, the best agent first, and why; nothing is sent.

    Args:
        system: The system.
        target: `capability:NAME`, `route:NAME` or `route:*`.
        message_type: Its type.
        payload: Its payload.
        as_agent: Who would send it.
        expects_reply: Whether it would be a request.

    Raises:
        UsageError: The target is an agent.
        RouteNotFound: No rule speaks of it.
        GatewayDown: No gateway runs.
    """
    if not target.startswith(ROUTED):
        raise UsageError(
            f"{target!r} is neither a capability nor a route", hint="capability:NAME, route:NAME or 'route:*'"
        )
    async with connected(system, as_agent) as client:
        return await client.router.ways(target, message_type, payload, expects_reply=expects_reply)
