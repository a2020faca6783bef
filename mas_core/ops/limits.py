"""Rate limits and ceilings of priorities: what counts, how much is used, changes."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mas_core.errors import NotFound, UsageError
from mas_core.model.policy import ANYONE, PolicyDocument, RateLimit
from mas_core.ops.agents import require_agents
from mas_core.ops.rbac import load
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting, named
from mas_core.security.limit_changes import check_total_name, set_ceiling, set_total
from mas_core.security.policy_changes import check_party, describe_limit, set_limit
from mas_core.security.rate_limits import CAPABILITY, ROLE, RateLimits
from mas_core.store.limits import WindowUse

__all__ = [
    "DEFAULT",
    "LimitStatus",
    "WindowUse",
    "change_limit",
    "describe_limit",
    "get_limit",
    "list_limits",
    "reset",
]

DEFAULT = "default"
"""How people call the limit of everybody without one of their own."""


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One limit, and how much of it is used."""

    name: str
    """An agent, `role:NAME`, `capability:NAME` or `default`."""
    scope: str
    """agent: what it may send; each: what each member, or each agent, may send; total: all together."""
    limit: RateLimit
    source: str
    """Whose limit it is: the name itself, a role, or default."""
    ceiling: int
    """Highest priority that messages keep; of a total 10."""
    uses: tuple[WindowUse, ...] = ()
    """Of agents and totals."""

    @property
    def is_full(self) -> bool:
        """Whether nothing fits now."""
        return any(use.used < 0 or use.used >= use.limit for use in self.uses)


async def list_limits(system: System) -> list[LimitStatus]:
    """The default, the limits of roles, the totals, and what counts for each registered agent."""
    document = await load(system)
    agents = [entry.agent_id for entry in await system.registry.entries()]
    limits = RateLimits(document)
    uses = await system.store.limits.use(
        {**document.totals, **{agent_id: limits.of(agent_id) for agent_id in agents}}
    )
    found = [_for_each(document, DEFAULT)]
    found += [_for_each(document, name) for name in sorted(document.limits) if name.startswith(ROLE)]
    found += [_total(document, name, uses[name]) for name in sorted(document.totals)]
    return found + [_agent(document, limits, agent_id, uses[agent_id]) for agent_id in agents]


async def get_limit(system: System, name: str) -> list[LimitStatus]:
    """What counts under one name: of an agent its limit and the totals of its roles, of a role both kinds.

    Raises:
        AgentNotFound: The agent is not registered.
        NotFound: The role or capability has no limit.
        RoleNotFound: There is no such role.
    """
    document = await load(system)
    if name in (DEFAULT, ANYONE):
        return [_for_each(document, DEFAULT)]
    limits = RateLimits(document)
    if not name.startswith((ROLE, CAPABILITY)):
        await require_agents(system, name)
        totals = limits.role_totals(name)
        uses = await system.store.limits.use(
            {name: limits.of(name), **{total: document.totals[total] for total in totals}}
        )
        own = _agent(document, limits, name, uses[name])
        return [own, *(_total(document, total, uses[total]) for total in totals)]
    check_total_name(document, name)
    found = [_for_each(document, name)] if name in document.limits or name in document.ceilings else []
    if name in document.totals:
        uses = await system.store.limits.use({name: document.totals[name]})
        found.append(_total(document, name, uses[name]))
    if not found:
        raise NotFound(
            f"{name} has no limit", hint=(f"mas limit set {name} --per-minute 100", "mas limit list")
        )
    return found


@named("limit.set", "name")
async def change_limit(
    system: System,
    name: str,
    *,
    per_minute: int | None = None,
    per_hour: int | None = None,
    burst: int | None = None,
    ceiling: int | None = None,
    is_total: bool = False,
    remove: bool = False,
    dry_run: bool = False,
) -> tuple[PolicyDocument, PolicyDocument]:
    """Change a limit; in force on every gateway when this returns.

    Args:
        system: The system.
        name: An agent, `role:NAME`, `capability:NAME` or `default`.
        per_minute: Messages in any sliding minute; as before when left out.
        per_hour: The same for the hour.
        burst: The same for the second; 0 for no bound of its own.
        ceiling: The highest priority that messages keep.
        is_total: Limit the members of the role together; a capability always has a total.
        remove: Take the limit (or, with `is_total`, the total) and the ceiling back.
        dry_run: Change nothing and tell what would be changed.

    Returns:
        The policy before and after.

    Raises:
        AgentNotFound: The agent is not registered.
        UsageError: The name or a number makes no sense, or nothing is to be changed.
    """
    numbers = {
        field: value
        for field, value in (("per_minute", per_minute), ("per_hour", per_hour), ("burst", burst))
        if value is not None
    }
    party = ANYONE if name == DEFAULT else name
    is_total = is_total or party.startswith(CAPABILITY)
    if remove and (numbers or ceiling is not None):
        raise UsageError("a limit is either changed or taken back")
    if not remove and not numbers and ceiling is None:
        raise UsageError(
            "nothing to change", hint=f"mas limit set {name} --per-minute 100 --per-hour 1000 --burst 20"
        )
    if is_total and ceiling is not None:
        raise UsageError("a total has no priority", hint=f"mas limit set {name} --ceiling N, without --total")
    if party != ANYONE and not party.startswith((ROLE, CAPABILITY)):
        await require_agents(system, party)

    def edit(document: PolicyDocument) -> PolicyDocument:
        if is_total:
            check_total_name(document, party)
            limit = (
                None
                if remove
                else msgspec.structs.replace(document.totals.get(party, RateLimit()), **numbers)
            )
            document = set_total(document, party, limit)
        else:
            check_party(document, party)
            if remove:
                document = set_limit(document, party, None)
            elif numbers:
                document = set_limit(
                    document, party, msgspec.structs.replace(_now(document, party), **numbers)
                )
            if remove or ceiling is not None:
                document = set_ceiling(document, party, ceiling)
        return document

    before = await load(system)
    return before, edit(before) if dry_run else await system.policy.change(edit)


async def reset(system: System, name: str, *, dry_run: bool = False) -> list[LimitStatus]:
    """Forget what was counted for an agent or a total; it is noted in the history of the policy.

    Returns:
        What counts under the name, with what is used now.

    Raises:
        AgentNotFound: The agent is not registered.
        NotFound: There is no such total.
    """

    async def counted() -> list[LimitStatus]:
        return [status for status in await get_limit(system, name) if status.name == name and status.uses]

    if not (found := await counted()):
        raise UsageError(f"{name} has no count of its own", hint="mas limit reset AGENT")
    if not dry_run:
        with acting("limit.reset", name):
            await system.policy.change(
                lambda document: msgspec.structs.replace(document, change=f"reset what {name} has used")
            )
            async with system.operator_log.writing("limit"):
                await system.store.limits.reset([name])
        found = await counted()
    return found


def _now(document: PolicyDocument, party: str) -> RateLimit:
    """What the party has so far, so that numbers left out stay as they are."""
    if party == ANYONE:
        return document.default_limit
    if party in document.limits or party.startswith(ROLE):
        return document.limits.get(party, document.default_limit)
    return RateLimits(document).of(party)


def _for_each(document: PolicyDocument, name: str) -> LimitStatus:
    party = ANYONE if name == DEFAULT else name
    limit = document.default_limit if party == ANYONE else document.limits.get(party, document.default_limit)
    source = name if party in document.limits else DEFAULT
    return LimitStatus(name, "each", limit, source, document.ceilings.get(party, 10))


def _total(document: PolicyDocument, name: str, uses: tuple[WindowUse, ...]) -> LimitStatus:
    return LimitStatus(name, "total", document.totals[name], name, 10, uses)


def _agent(
    document: PolicyDocument, limits: RateLimits, agent_id: str, uses: tuple[WindowUse, ...]
) -> LimitStatus:
    limit = limits.of(agent_id)
    source = DEFAULT
    if agent_id in document.limits:
        source = agent_id
    else:
        for role, members in document.roles.items():
            if agent_id in members and document.limits.get(f"{ROLE}{role}") == limit:
                source = f"{ROLE}{role}"
    return LimitStatus(agent_id, "agent", limit, source, limits.ceiling(agent_id), uses)
