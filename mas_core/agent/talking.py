"""What an agent says: messages, requests, and who else is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from mas_core.agent.client import Client
from mas_core.agent.log_reader import NOW
from mas_core.agent.publishing import Publishing
from mas_core.agent.subscription import Subscription
from mas_core.agent.turn import current_turn
from mas_core.model.decision import Receipt
from mas_core.model.event import Extension
from mas_core.model.event_messages import RECORDER, emitted
from mas_core.model.message import DEFAULT_TTL_MS, AgentMessage, TypedPayload
from mas_core.model.priority import NORMAL


class Talking(Publishing):
    """The part of an agent that sends and asks; ids of what a handler sends derive from what it handles."""

    id: str
    """The agent's id."""
    _request_timeout: float

    def _started(self) -> Client:
        """The client of the agent.

        Raises:
            NotStarted: It is not started.
        """
        raise NotImplementedError

    async def send(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        message_id: str = "",
        headers: dict[str, str] | None = None,
        encrypt: bool = False,
        delivery: str = "",
        deliver_at: datetime | None = None,
        deliver_after: float = 0.0,
        on_behalf_of: AgentMessage | None = None,
    ) -> Receipt:
        """Send a message; returns the gateway's receipt once it is safely on its way.

        Inside a handler the message's id derives from the message being handled, so that a handler which runs a
        second time sends nothing twice. Parameters and errors are those of `Client.send`.
        """
        client = self._started()
        turn = current_turn.get()
        if turn is not None and not message_id and turn.agent_id == self.id:
            message_id = turn.next_message_id()
        return await client.send(
            target,
            message_type,
            data,
            priority=priority,
            ttl=ttl,
            message_id=message_id,
            headers=headers,
            encrypt=encrypt,
            delivery=delivery,
            deliver_at=deliver_at,
            deliver_after=deliver_after,
            on_behalf_of=on_behalf_of,
        )

    async def send_many(
        self,
        target: str,
        message_type: str,
        payloads: Iterable[object],
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
        delivery: str = "",
    ) -> list[Receipt]:
        """Send messages in this order; returns all receipts, also of what was refused. As `Client.send_many`."""
        client = self._started()
        turn = current_turn.get()
        payloads = list(payloads)
        ids: list[str] = []
        if turn is not None and turn.agent_id == self.id:
            ids = [turn.next_message_id() for _ in payloads]
        return await client.send_many(
            target, message_type, payloads, priority=priority, ttl=ttl, message_ids=ids, delivery=delivery
        )

    async def send_to_all(
        self,
        targets: Sequence[str],
        message_type: str,
        data: object = None,
        *,
        priority: int | str = NORMAL,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> list[Receipt]:
        """Send one message to many targets; a receipt for each, also where it was refused.

        As `Client.send_to_all`.
        """
        client = self._started()
        turn = current_turn.get()
        ids: list[str] = []
        if turn is not None and turn.agent_id == self.id:
            ids = [turn.next_message_id() for _ in targets]
        return await client.send_to_all(
            targets, message_type, data, priority=priority, ttl=ttl, message_ids=ids
        )

    def listen(self, pattern: str, *, durable: bool = False, start: str | int = NOW) -> Subscription:
        """Hear topics in a loop of one's own: `async for message in agent.listen("orders.>")`.

        As `Client.subscribe`; for handlers see `Agent.subscribe`.
        """
        return self._started().subscribe(pattern, durable=durable, start=start)

    async def emit(
        self,
        event_type: str,
        data: object = None,
        *,
        topic: str = "",
        extensions: Mapping[str, Extension] | None = None,
        ttl: float = DEFAULT_TTL_MS / 1000,
    ) -> Receipt:
        """Tell that something happened: a message to the recorder of events, which keeps it for whoever asks.

        The event's source is this agent. A handler that runs a second time tells nothing twice.

        Args:
            event_type: Such as `order.created`.
            data: What there is to know: anything that JSON can say.
            topic: Where it belongs, such as `orders.eu`.
            extensions: Further attributes as CloudEvents has them, such as `subject`.
            ttl: Seconds after which it is of no use any more.

        Raises:
            EventInvalid: The topic or an extension cannot be.
            AgentNotFound: No recorder was ever started in this system.
            Refused: The gateway said no; the subclass says which stage.
        """
        payload = emitted(data, topic=topic, extensions=extensions)
        return await self.send(RECORDER, event_type, payload, ttl=ttl)

    async def request(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object = None,
        *,
        timeout: float | None = None,
        priority: int | str = NORMAL,
        message_id: str = "",
        headers: dict[str, str] | None = None,
        encrypt: bool = False,
        delivery: str = "",
        on_behalf_of: AgentMessage | None = None,
    ) -> AgentMessage:
        """Send a message and wait for the reply, 30 s unless told otherwise. As `Client.request`.

        A handler that runs a second time asks again: the reply to the first question went to an instance that
        may be gone.
        """
        return await self._started().request(
            target,
            message_type,
            data,
            timeout=timeout or self._request_timeout,
            priority=priority,
            message_id=message_id,
            headers=headers,
            encrypt=encrypt,
            delivery=delivery,
            on_behalf_of=on_behalf_of,
        )

    async def discover(
        self,
        capabilities: Sequence[str] = (),
        *,
        match_all: bool = False,
        metadata: dict[str, object] | None = None,
        limit: int = 0,
    ) -> list[dict[str, object]]:
        """Running agents that this one may talk to; parameters as for `Client.discover`."""
        return await self._started().discover(
            capabilities, match_all=match_all, metadata=metadata, limit=limit
        )
