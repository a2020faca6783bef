"""Leaders of groups: who leads what, and making one step down."""

from __future__ import annotations

from mas_core.agent.resources import ask
from mas_core.base.resources import check_resource
from mas_core.coordination.election import KIND, Group, read_group
from mas_core.errors import ResourceNotFound
from mas_core.ops.messages import connected
from mas_core.ops.resources import open_records
from mas_core.ops.system import OPERATOR, System

__all__ = ["Group", "depose", "groups"]


async def groups(system: System, names: tuple[str, ...] = ()) -> list[Group]:
    """Groups that ever had a leader, by name; one without a leader now says nothing in `leader`.

    Args:
        system: The system.
        names: Only these.

    Raises:
        ResourceNotFound: One of the names never had a leader.
        SecretUnavailable: The gateway's keys, under which records are sealed, are not at hand.
    """
    now = await system.store.connection.time_ms()
    found = {}
    async for name, record in open_records(system, KIND):
        group = read_group(record)
        if group.expires <= now:
            group.leader = group.instance = ""
        found[name] = group
    for name in names:
        check_resource(KIND, name)
        if name not in found:
            raise ResourceNotFound(
                f"nobody ever led {name}", hint="mas leader status", resource=f"{KIND}:{name}"
            )
    return [found[name] for name in sorted(names or found)]


async def depose(system: System, group: str, *, as_agent: str = OPERATOR) -> None:
    """Make the leader of a group step down; whoever waits longest leads next.

    Raises:
        CoordinationRefused: `no_leader`: nobody leads it.
        Refused: The policy does not let this agent do that.
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:
        await ask(client, KIND, group, "depose", {})
