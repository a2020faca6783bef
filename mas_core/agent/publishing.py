"""Publishing to topics, and sending one message to many agents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mas_core.model.decision import Receipt
from mas_core.model.message import DEFAULT_TTL_MS
from mas_core.model.priority import NORMAL
from mas_core.model.topic import address


@dataclass(frozen=True, slots=True)
class BroadcastReceipt:
    """What was decided about a broadcast, for each agent on its own."""

    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    """Agent -> the gateway's receipt."""

    @property
    def delivered(self) -> list[str]:
        """Agents that it is on its way to."""
        return [agent for agent, receipt in self.receipts.items() if receipt.decision.is_delivered]

    @property
    def refused(self) -> dict[str, Receipt]:
        """Agents that it was not let through to, and why."""
        return {
            agent: receipt for agent, receipt in self.receipts.items() if not receipt.decision.is_accepted
        }

    def __len__(self) -> int:
        return len(self.receipts)

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self.receipts.values())


class Publishing:
    """What clients and agents say to many."""

    async def send(
        self,
        target: str,
        message_type: str,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        message_id: str = "",
        headers: dict[str, str] | None = None,
    ) -> Receipt:
        """Send one message."""
        raise NotImplementedError

    async def send_many(
        self,
        target: str,
        message_type: str,
        payloads: Iterable[object],
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> list[Receipt]:
        """Send many messages to one target."""
        raise NotImplementedError

    async def send_to_all(
        self,
        targets: Sequence[str],
        message_type: str,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> list[Receipt]:
        """Send one message to many targets; a receipt for each, also where it was refused."""
        raise NotImplementedError

    async def discover(
        self,
        capabilities: Sequence[str] = (),
        *,
        match_all: bool = False,
        metadata: dict[str, object] | None = None,
    ) -> list[dict[str, object]]:
        """Running agents that this one may talk to."""
        raise NotImplementedError

    async def publish(
        self,
        topic: str,
        data: object = None,
        *,
        message_type: str = "",
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        message_id: str = "",
        headers: dict[str, str] | None = None,
    ) -> Receipt:
        """Publish a message; returns once it is in the log of the topic, for all subscribers.

        Args:
            topic: Such as `orders.created`: words of letters, digits, `_` and `-`, joined by dots.
            data: A dict or a pydantic model.
            message_type: Type of the message; the name of the topic when left out.
            priority: 0 to 10, or a name: how soon the gateway takes it, and which of the messages that wait with a
                subscriber come first. The log keeps the order of the gateway.
            ttl: Seconds after which it is of no use any more: subscribers that come later do not get it.
            message_id: An id of your own: publishing it again has no second effect.
            headers: Short texts that travel with it.

        Raises:
            InvalidIdentifier: The topic cannot have this name.
            Forbidden: No rule lets the agent publish there.
            Backpressure: The log is full, and set to refuse then; or there are too many topics.
            Refused, InvalidPayload, GatewayDown: As for `send`.
        """
        target, message_type = address(topic, message_type)
        return await self.send(
            target,
            message_type,
            data,
            priority=priority,
            ttl=ttl,
            message_id=message_id,
            headers=headers,
        )

    async def publish_many(
        self,
        topic: str,
        payloads: Iterable[object],
        *,
        message_type: str = "",
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> list[Receipt]:
        """Publish messages in this order, in as few frames as possible; parameters as for `publish`.

        Returns:
            For each its receipt; one that was refused raises nothing here, its receipt says so.
        """
        target, message_type = address(topic, message_type)
        return await self.send_many(
            target,
            message_type,
            payloads,
            priority=priority,
            ttl=ttl,
        )

    async def broadcast(
        self,
        message_type: str,
        data: object = None,
        *,
        capability: str | Sequence[str] = (),
        match_all: bool = False,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> BroadcastReceipt:
        """Send a message to all running agents that this one may talk to, each judged on its own.

        Args:
            message_type: Type of the message.
            data: A dict or a pydantic model.
            capability: Only agents with it, or with any of several.
            match_all: Only agents with all of several.
            priority: 0 to 10, or a name.
            ttl: Seconds after which it is of no use any more.

        Returns:
            The decision for each agent; refusals raise nothing.

        Raises:
            InvalidPayload, GatewayDown: As for `send`.
        """
        wanted = (capability,) if isinstance(capability, str) else tuple(capability)
        found = await self.discover(wanted, match_all=match_all)
        targets = sorted(str(item["id"]) for item in found)
        receipts = await self.send_to_all(targets, message_type, data, priority=priority, ttl=ttl)
        return BroadcastReceipt(dict(zip(targets, receipts, strict=True)))
