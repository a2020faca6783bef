"""How many instances agents have where runners decide that themselves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from mas_core.ops.system import System


@dataclass(frozen=True, slots=True)
class AgentScaling:
    """How many instances of an agent a runner has, between how many and how many, and why."""

    runner: str
    count: int
    min: int
    max: int
    reason: str
    """Empty while it has as many as at the start."""
    since: int
    """Unix milliseconds by the server's clock."""


async def agent_scaling(system: System) -> dict[str, tuple[AgentScaling, ...]]:
    """Agent id -> what each runner that scales it says.

    Raises:
        StoreUnreachable: The server does not answer.
    """
    found: defaultdict[str, list[AgentScaling]] = defaultdict(list)
    for runner in await system.runners():
        for item in runner.scaled:
            found[item.agent_id].append(
                AgentScaling(runner.runner_id, item.count, item.min, item.max, item.reason, item.since)
            )
    return {agent_id: tuple(items) for agent_id, items in found.items()}
