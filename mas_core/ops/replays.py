"""Messages that were delivered once, sent again: from the sealed copies of payloads that the audit keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from mas_core.errors import MasError
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import DELIVERED, Receipt
from mas_core.ops import audit, payload_copies
from mas_core.ops.agents import require_agents
from mas_core.ops.audit_filter import AuditFilter
from mas_core.ops.messages import connected
from mas_core.ops.system import OPERATOR, System


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one message that was to be sent again."""

    record: AuditRecord
    """That of its first delivery."""
    target: str
    receipt: Receipt | None = None
    error: MasError | None = None


async def replayable(
    system: System, agent_id: str, *, since: int = 0, until: int = 0, message_type: str = ""
) -> tuple[list[AuditRecord], int]:
    """Messages to an agent whose payloads were kept, oldest first; and how many more there were without a copy.

    Args:
        system: The system.
        agent_id: Whom they went to.
        since: Unix milliseconds; 0 for all.
        until: Unix milliseconds; 0 for all.
        message_type: A glob.

    Raises:
        AgentNotFound: There is no such agent.
        UsageError: The glob cannot be one.
    """
    await require_agents(system, agent_id)
    wanted = AuditFilter(target=agent_id, message_type=message_type, since=since, until=until, kind="message")
    found, without = [], 0
    async with aclosing(audit.records(system, wanted, newest_first=False)) as records:
        async for item in records:
            record = item.record
            if record.decision not in DELIVERED or record.correlation_id:
                continue
            if isinstance(record.details.get("sealed"), dict):
                found.append(record)
            else:
                without += 1
    return found, without


async def replay(
    system: System,
    records: Sequence[AuditRecord],
    *,
    to: str = "",
    as_agent: str = OPERATOR,
    rate: float = 0,
) -> AsyncIterator[Replayed]:
    """Send messages again, one after the other, as new ones: every stage of the gateway judges them anew.

    Args:
        system: The system.
        records: What `replayable` found.
        to: Whom they go to now; whom they went to, when left out.
        as_agent: Who sends them.
        rate: At most so many a second; 0 for as fast as they are taken.

    Raises:
        GatewayDown: No gateway runs.
        SecretUnavailable: The token or the keys of payloads are not at hand.
    """
    async with connected(system, as_agent) as client:
        for record in records:
            target = to or record.target
            try:
                _, text = await payload_copies.read(system, record.message_id)
                receipt = await client.send(target, record.type, msgspec.json.decode(text))
            except MasError as error:
                yield Replayed(record, target, error=error)
            else:
                yield Replayed(record, target, receipt)
            if rate:
                await asyncio.sleep(1 / rate)
