"""Messages: send them, ask, find out who is there, and try what would happen."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.model.decision import Receipt
from mas_core.model.message import AgentMessage
from mas_core.model.priority import NORMAL
from mas_core.ops.system import OPERATOR, System


async def send(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    ttl: float = 3600.0,
    message_id: str = "",
    timeout: float = 30.0,  # noqa: ASYNC109 - part of the message, not of the call
) -> Receipt:
    """Send one message as an agent whose token is at hand; parameters and errors as `Client.send`.

    Raises:
        GatewayDown: No gateway runs.
    """
    client = system.client(as_agent)
    await system.require_gateway()
    async with client:
        return await client.send(
            target, message_type, payload, priority=priority, ttl=ttl, message_id=message_id, timeout=timeout
        )


async def request(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    timeout: float = 30.0,  # noqa: ASYNC109 - part of the message, not of the call
) -> AgentMessage:
    """Ask an agent and wait for its reply; parameters and errors as `Client.request`.

    Raises:
        GatewayDown: No gateway runs.
    """
    client = system.client(as_agent)
    await system.require_gateway()
    async with client:
        return await client.request(target, message_type, payload, priority=priority, timeout=timeout)


async def discover(
    system: System,
    capabilities: Sequence[str] = (),
    *,
    as_agent: str = OPERATOR,
    match_all: bool = False,
    metadata: dict[str, object] | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - given on to the client
) -> list[dict[str, object]]:
    """Running agents that an agent may talk to; parameters and errors as `Client.discover`.

    Raises:
        GatewayDown: No gateway runs.
    """
    client = system.client(as_agent)
    await system.require_gateway()
    async with client:
        return await client.discover(capabilities, match_all=match_all, metadata=metadata, timeout=timeout)
