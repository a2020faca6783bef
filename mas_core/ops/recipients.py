"""Whom a message goes to where its target is a capability."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mas_core.errors import MasError, NoResponder
from mas_core.model.message import AgentMessage
from mas_core.model.priority import NORMAL
from mas_core.ops.messages import connected
from mas_core.ops.system import OPERATOR, System

CAPABILITY: Final = "capability:"
Pick = Literal["one", "least-loaded", "all"]
PICKS: Final[tuple[Pick, ...]] = ("one", "least-loaded", "all")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one of several agents answered."""

    agent_id: str
    reply: AgentMessage | None
    error: MasError | None
    seconds: float


async def recipients(
    system: System, target: str, *, as_agent: str = OPERATOR, pick: Pick = "least-loaded"
) -> list[str]:
    """The agents that `target` means: itself, or of `capability:NAME` those who run and may be talked to.

    Args:
        system: The system.
        target: Id of an agent, or `capability:NAME`.
        as_agent: Who sends.
        pick: Any one of them, the one with the least in hand for each instance, or all of them.

    Raises:
        NoResponder: Nobody has the capability.
        GatewayDown: No gateway runs.
    """
    if not target.startswith(CAPABILITY):
        return [target]
    capability = target.removeprefix(CAPABILITY)
    async with connected(system, as_agent) as client:
        found = await client.discover([capability])
    if not found:
        raise NoResponder(
            f"nobody runs that can do {capability} and that {as_agent} may talk to",
            hint=(f"mas agent list --capability {capability}", "mas discover"),
        )
    if pick == "all":
        return sorted(str(item["id"]) for item in found)
    if pick == "one":
        return [str(random.choice(found)["id"])]  # noqa: S311 - no secret depends on it
    return [str(least_loaded(found)[0]["id"])]


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
