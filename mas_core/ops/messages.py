"""Messages: send them, ask, find out who is there, and try what would happen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mas_core.errors import IntegrityError, MasError, SecretUnavailable
from mas_core.model.decision import Receipt
from mas_core.model.message import DEFAULT_TTL_MS, AgentMessage, Payload
from mas_core.model.priority import NORMAL
from mas_core.model.rehearsal import Rehearsal
from mas_core.ops.system import OPERATOR, System

if TYPE_CHECKING:
    from mas_core.agent.client import Client

DEFAULT_TTL_S = DEFAULT_TTL_MS / 1000
MAX_IN_FLIGHT = 512
"""Messages of `send_all` that wait for their receipts at the same time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message of many: a receipt or an error."""

    receipt: Receipt | None = None
    error: MasError | None = None
    target: str = ""


@asynccontextmanager
async def connected(system: System, as_agent: str = OPERATOR) -> AsyncIterator[Client]:
    """A client that sends as an agent whose token is at hand, once somebody takes messages.

    Raises:
        SecretUnavailable: The token is not at hand.
        GatewayDown: No gateway runs.
    """
    client = system.client(as_agent)
    await system.require_gateway()
    with contextlib.suppress(SecretUnavailable, IntegrityError):
        # Whoever cannot read the policy is told by the gateway.
        policy = await system.policy.load()
        client.signs = policy is not None and policy.features.message_signing
    async with client:
        yield client


async def send(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    encrypt: bool = False,
    ttl: float = DEFAULT_TTL_S,
    message_id: str = "",
    delivery: str = "",
    deliver_at: datetime | None = None,
    deliver_after: float = 0.0,
    timeout: float = 30.0,
) -> Receipt:
    """Send one message as an agent whose token is at hand; parameters and errors as `Client.send`.

    Raises:
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:
        return await client.send(
            target,
            message_type,
            payload,
            priority=priority,
            ttl=ttl,
            message_id=message_id,
            encrypt=encrypt,
            delivery=delivery,
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            timeout=timeout,
        )


async def send_all(
    system: System,
    target: str | Sequence[str],
    message_type: str,
    payloads: AsyncIterable[Payload | MasError],
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    encrypt: bool = False,
    ttl: float = DEFAULT_TTL_S,
    delivery: str = "",
    deliver_at: datetime | None = None,
    deliver_after: float = 0.0,
    rate: float = 0,
) -> AsyncIterator[Outcome]:
    """Send many messages at once; the outcomes come in the order of the payloads, and of the targets.

    Args:
        system: The system.
        target: Id of the agent to send to, or of several that get every message.
        message_type: Type of all messages.
        payloads: A payload each, or what is wrong with it, which becomes its outcome.
        as_agent: Who sends.
        priority: 0 to 10, or a name.
        encrypt: Encrypt the payloads so that only the target can read them.
        ttl: Seconds after which a message is of no use any more.
        delivery: at_most_once, at_least_once or exactly_once; what the target is set to, when left out.
        deliver_at: When they are due.
        deliver_after: Seconds after which they are due, instead.
        rate: At most so many messages per second; 0 for as fast as they are taken.

    Raises:
        GatewayDown: No gateway runs.
    """
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[asyncio.Task[Outcome] | None] = asyncio.Queue(MAX_IN_FLIGHT)
    targets = [target] if isinstance(target, str) else list(target)

    async def sent(client: Client, to: str, payload: Payload | MasError) -> Outcome:
        if isinstance(payload, MasError):
            return Outcome(error=payload, target=to)
        try:
            return Outcome(
                await client.send(
                    to,
                    message_type,
                    payload,
                    priority=priority,
                    ttl=ttl,
                    encrypt=encrypt,
                    delivery=delivery,
                    deliver_at=deliver_at,
                    deliver_after=deliver_after,
                ),
                target=to,
            )
        except MasError as error:
            return Outcome(error=error, target=to)

    async def feed(client: Client) -> None:
        due = loop.time()
        try:
            async for payload in payloads:
                for to in targets:
                    if rate:
                        await asyncio.sleep(due - loop.time())
                        due = max(due, loop.time() - 1) + 1 / rate
                    await under_way.put(asyncio.create_task(sent(client, to, payload)))
        finally:
            await under_way.put(None)

    async with connected(system, as_agent) as client:
        feeding = asyncio.create_task(feed(client))
        try:
            while (task := await under_way.get()) is not None:
                yield await task
            await feeding
        finally:
            feeding.cancel()
            while not under_way.empty():
                if (task := under_way.get_nowait()) is not None:
                    task.cancel()


async def request(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    encrypt: bool = False,
    timeout: float = 30.0,
) -> AgentMessage:
    """Ask an agent and wait for its reply; parameters and errors as `Client.request`.

    Raises:
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:
        return await client.request(
            target, message_type, payload, priority=priority, timeout=timeout, encrypt=encrypt
        )


async def rehearse(
    system: System,
    target: str,
    message_type: str,
    payload: object = None,
    *,
    as_agent: str = OPERATOR,
    priority: int | str = NORMAL,
    encrypt: bool = False,
    ttl: float = DEFAULT_TTL_S,
    expects_reply: bool = False,
    deliver_at: datetime | None = None,
    deliver_after: float = 0.0,
    timeout: float = 30.0,
) -> Rehearsal:
    """What would become of a message, stage by stage; parameters and errors as `Client.rehearse`.

    Raises:
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:
        return await client.rehearse(
            target,
            message_type,
            payload,
            priority=priority,
            ttl=ttl,
            encrypt=encrypt,
            expects_reply=expects_reply,
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            timeout=timeout,
        )


async def discover(
    system: System,
    capabilities: Sequence[str] = (),
    *,
    as_agent: str = OPERATOR,
    match_all: bool = False,
    metadata: dict[str, object] | None = None,
    timeout: float = 10.0,
) -> list[dict[str, object]]:
    """Running agents that an agent may talk to; parameters and errors as `Client.discover`.

    Raises:
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:
        return await client.discover(capabilities, match_all=match_all, metadata=metadata, timeout=timeout)
