"""Whom a message goes to where its target is a capability or a route."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mas_core.agent.router import nobody
from mas_core.errors import MasError
from mas_core.model.message import AgentMessage
from mas_core.model.priority import NORMAL
from mas_core.model.routing import ROUTED
from mas_core.ops.messages import connected
from mas_core.ops.system import OPERATOR, System

Pick = Literal["best", "one", "least-loaded", "all"]
PICKS: Final[tuple[Pick, ...]] = ("best", "one", "least-loaded", "all")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of several agents answered."""

    agent_id: str
    reply: AgentMessage | None
    error: MasError | None
    seconds: float


async def recipients(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    pick: Pick = "best",
    expects_reply: bool = False,
) -> list[str]:
    """The agents that `target` means: itself, or those who run and that a routing rule or a capability leads to.

    Args:
        system: The system.
        target: Id of an agent, `capability:NAME`, `route:NAME` or `route:*`.
        message_type: Type of the message.
        payload: Its payload, which may hold the key that sticks to an agent.
        as_agent: Who sends; only those count that it may send such a message to.
        pick: The best one by the strategy of the rule; any one; the one with the least in hand; or all of them.
        expects_reply: Whether it is a request.

    Raises:
        NoResponder: Nobody runs that it may go to.
        RouteNotFound: No rule speaks of it.
        GatewayDown: No gateway runs.
    """
    if not target.startswith(ROUTED):
        return [target]
    async with connected(system, as_agent) as client:
        found, ways = await client.router.ways(target, message_type, payload, expects_reply=expects_reply)
    if not ways:
        raise nobody(target, message_type, as_agent)
    agents = [way.agent for way in ways]
    if pick == "all":
        return sorted(agents)
    if pick == "least-loaded":
        return [min(found.agents, key=lambda agent: (agent.load / max(1, agent.instances), agent.id)).id]
    return [random.choice(agents) if pick == "one" else agents[0]]  # noqa: S311 - no secret depends on it


def least_loaded(found: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """What `discover` gave, those first that have the least in hand for each instance."""

    def load(item: dict[str, object]) -> tuple[float, str]:
        held, instances = item.get("load"), item.get("instances")
        number = held if isinstance(held, int) else 0
        return number / max(1, instances if isinstance(instances, int) else 1), str(item["id"])

    return sorted(found, key=load)


async def ask_all(
    system: System,
    agent_ids: Sequence[str],
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    encrypt: bool = False,
    timeout: float = 30.0,
) -> list[Answer]:
    """Ask several agents at once; the answers come in the order of the agents, errors among them.

    Raises:
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:

        async def ask(agent_id: str) -> Answer:
            begun = time.perf_counter()
            reply, problem = None, None
            try:
                reply = await client.request(
                    agent_id, message_type, payload, priority=priority, timeout=timeout, encrypt=encrypt
                )
            except MasError as error:
                problem = error
            return Answer(agent_id, reply, problem, time.perf_counter() - begun)

        return await asyncio.gather(*map(ask, agent_ids))
