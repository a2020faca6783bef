"""Topics: which there are and how much is kept of them, and listening to some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from mas_core.base.resources import check_pattern, matches_name
from mas_core.gateway.topic_records import open_topics
from mas_core.model.message import AgentMessage
from mas_core.model.topic import TOPIC, TopicGap
from mas_core.ops.messages import connected
from mas_core.ops.system import OPERATOR, System
from mas_core.security.seals import AtRest

EVERYTHING: Final = ">"
RATE_OVER_MS: Final = 60_000
IDLE_S: Final = 0.5
"""How often there is a sign while nothing comes."""


class TopicFacts(msgspec.Struct):
    """What is known of one topic."""

    name: str
    partition: int
    created: int
    """Unix milliseconds."""
    last: int
    """Number of its newest message, which is how many there ever were."""
    at: int
    """When that came, in Unix milliseconds; 0 where none has come."""
    subscribers: int
    """Agents that were subscribed when something was last published or somebody subscribed."""
    rate: float
    """Messages a second, over the last minute."""
    kept_from: int
    """Number of the oldest message that is kept, about; 0 where none is."""
    bytes: int
    age_ms: int
    max_bytes: int
    max_messages: int
    when_full: str
    keys: int
    """How many keys are kept to read what is retained."""


async def topics(system: System, pattern: str = EVERYTHING) -> list[TopicFacts]:
    """Topics that match a pattern, by name.

    Raises:
        InvalidIdentifier: It is no pattern.
        SecretUnavailable: The gateway's keys, under which records are sealed, are not at hand.
    """
    check_pattern(TOPIC, pattern)
    at_rest, logs = AtRest(system.keys.at_rest_key), system.store.topics
    now = await system.store.connection.time_ms()
    found = []
    for partition in range(system.store.partitions):
        records = open_topics(at_rest, await logs.records(partition))
        names = [name for name in records.logs if matches_name(pattern, name)]
        if not names:
            continue
        sizes = await logs.sizes(partition)
        for name, facts in zip(names, await logs.facts(partition, names, now - RATE_OVER_MS), strict=True):
            entry = records.logs[name]
            status = entry.status
            lasted = max(1_000, min(RATE_OVER_MS, now - entry.record.created))
            found.append(
                TopicFacts(
                    name,
                    partition,
                    entry.record.created,
                    status.last,
                    status.at,
                    status.subscribers,
                    round(facts.recent / lasted * 1000, 2),
                    int(facts.first.partition("-")[0] or 0),
                    sizes.get(name, 0),
                    status.limits.age_ms,
                    status.limits.max_bytes,
                    status.limits.max_messages,
                    str(status.limits.when_full),
                    len(entry.record.generations),
                )
            )
    return sorted(found, key=lambda item: item.name)


@asynccontextmanager
async def listening(
    system: System,
    pattern: str,
    *,
    as_agent: str = OPERATOR,
    start: str | int = "now",
    durable: bool = False,
    on_gap: Callable[[TopicGap], None] | None = None,
) -> AsyncIterator[Callable[[], AsyncIterator[AgentMessage | None]]]:
    """Listen to topics that match, as an agent whose token is at hand.

    Args:
        system: The system.
        pattern: Such as `orders.>`.
        as_agent: Who listens.
        start: `now`, `beginning`, or the number of a message.
        durable: Whether the agent keeps its place.
        on_gap: Called where messages are missing.

    Yields:
        What gives the messages, and None now and then meanwhile.

    Raises:
        Forbidden: The agent may hear nothing that matches.
        GatewayDown: No gateway runs.
    """
    async with (
        connected(system, as_agent) as client,
        client.subscribe(pattern, durable=durable, start=start, on_gap=on_gap) as messages,
    ):
        waiting: asyncio.Future[AgentMessage] | None = None

        async def heard() -> AsyncIterator[AgentMessage | None]:
            nonlocal waiting
            while True:
                waiting = waiting or asyncio.ensure_future(anext(messages))
                done, _ = await asyncio.wait((waiting,), timeout=IDLE_S)
                if not done:
                    yield None
                    continue
                message = waiting.result()
                waiting = None
                yield message

        try:
            yield heard
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
