"""Roles, trusted and blocked agents, capabilities and the switches of the policy."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mas_core.model.policy import Mark, PolicyDocument
from mas_core.ops.agents import require_agents
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.policy_people import (
    FEATURES,
    MarkKind,
    assign_role,
    bind_capability,
    create_role,
    set_feature,
    set_mark,
    unassign_role,
)
from mas_core.settings.project_config import load_config

__all__ = [
    "FEATURES",
    "MarkKind",
    "add_role",
    "assign",
    "bind",
    "mark",
    "switch",
    "unassign",
    "unmark",
]


@named("role.create", "members")
async def add_role(system: System, role: str, members: Sequence[str] = ()) -> PolicyDocument:
    """Make a role; what it may is said by rules that name it as `role:NAME`.

    Raises:
        RoleExists: There is one of this name.
        AgentNotFound: A member is not registered.
    """
    await require_agents(system, *members)
    return await system.policy.change(lambda document: create_role(document, role, members))


@named("role.assign", "members")
async def assign(system: System, role: str, members: Sequence[str]) -> PolicyDocument:
    """Give agents a role; in force when this returns.

    Raises:
        RoleNotFound: There is no such role.
        AgentNotFound: One of them is not registered.
    """
    await require_agents(system, *members)
    return await system.policy.change(lambda document: assign_role(document, role, members))


@named("role.unassign", "members")
async def unassign(system: System, role: str, members: Sequence[str]) -> PolicyDocument:
    """Take a role from agents; in force when this returns.

    Raises:
        RoleNotFound: There is no such role.
        Conflict: One of them has not the role.
    """
    return await system.policy.change(lambda document: unassign_role(document, role, members))


@named("mark.{kind}", "agent_id")
async def mark(
    system: System, kind: MarkKind, agent_id: str, *, reason: str = "", expires_in: float = 0
) -> Mark:
    """Block or trust an agent; in force when this returns.

    Nothing from or to a blocked agent passes, whatever else is allowed. A trusted agent may send to every
    agent without a rule and without approval, unless a rule denies it; all other checks stay.

    Args:
        system: The system.
        kind: blocked or trusted.
        agent_id: Who.
        reason: Why, in words.
        expires_in: Seconds until it no longer counts; 0 for never.

    Raises:
        AgentNotFound: It is not registered.
    """
    await require_agents(system, agent_id)
    now = await system.store.connection.time_ms()
    wanted = Mark(reason, now + int(expires_in * 1000) if expires_in else 0, system.actor, now)
    document = await system.policy.change(lambda document: set_mark(document, kind, agent_id, wanted))
    found: Mark = getattr(document, kind)[agent_id]
    return found


@named("unmark.{kind}", "agent_id")
async def unmark(system: System, kind: MarkKind, agent_id: str) -> PolicyDocument:
    """No longer block or trust an agent; in force when this returns.

    Raises:
        AgentNotFound: It is not registered, and nothing of the kind was said about it.
        Conflict: It is not blocked, or not trusted.
    """
    if agent_id not in getattr(await system.policy.load() or PolicyDocument(), kind):
        await require_agents(system, agent_id)
    return await system.policy.change(lambda document: set_mark(document, kind, agent_id, None))


@named("capability.bind", "capability")
async def bind(system: System, capability: str, parties: Sequence[str] | None) -> PolicyDocument:
    """Say who alone may claim a capability; in force when this returns.

    Args:
        system: The system.
        capability: Glob over capabilities.
        parties: Agents, `role:NAME` or `*`; None frees it for everybody.

    Raises:
        AgentNotFound: One of them is not registered.
        UsageError: A name or the pattern makes no sense.
    """
    named = [party for party in parties or () if party != "*" and not party.startswith("role:")]
    await require_agents(system, *named)
    return await system.policy.change(lambda document: bind_capability(document, capability, parties))


@named("policy.set", "name")
async def switch(system: System, name: str, value: bool | None, *, dry_run: bool = False) -> PolicyDocument:
    """Switch a part of the policy on or off; in force when this returns.

    Args:
        system: The system.
        name: One of `FEATURES`.
        value: None leaves it to the files again: at once where the system has a project here, else from the
            next time that they are loaded.
        dry_run: Change nothing and tell what would be.

    Raises:
        UsageError: There is no such switch.
        SpecInvalid: The files of the project cannot be used.
    """
    of_files = _said_by_files(system, name) if value is None else None

    def edit(document: PolicyDocument) -> PolicyDocument:
        return set_feature(document, name, value, of_files=of_files)

    return (
        edit(await system.policy.load() or PolicyDocument()) if dry_run else await system.policy.change(edit)
    )


def _said_by_files(system: System, name: str) -> bool | None:
    if system.target.project is None:
        return None
    loaded = load_config(system.target.project)
    said = {**msgspec.structs.asdict(loaded.config.gateway.policy_features), **loaded.policy().features}
    return said.get(name)


def shown_features(document: PolicyDocument) -> list[tuple[str, bool, bool]]:
    """Name, whether it is on, and whether an operator set it by hand, of every switch."""
    values = msgspec.structs.asdict(document.features)
    return [(name, values[name], name in document.feature_overrides) for name in FEATURES]
