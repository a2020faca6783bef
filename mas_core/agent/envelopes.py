"""Makes the messages that an agent sends: checks what a caller gives, and fills in what is left out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mas_core.agent.turn import current_turn
from mas_core.base.ids import GATEWAY, check_message_id, check_message_type, new_message_id
from mas_core.base.resources import check_target
from mas_core.errors import UsageError
from mas_core.model.delivery_mode import DeliveryMode, parse_delivery
from mas_core.model.message import (
    BEHALF_HEADER,
    MAX_TTL_MS,
    AgentMessage,
    Envelope,
    Flag,
    TypedPayload,
    payload_bytes,
)
from mas_core.model.priority import parse_priority
from mas_core.model.scheduled import MAX_AHEAD_MS

MAX_KNOWN_ADDRESSES = 10_000
"""Pairs of target and type that were found well-formed and are not looked at again."""


class Envelopes:
    """Makes messages of one agent.

    Args:
        agent_id: Who sends them.
        now_ms: The server's clock, in Unix milliseconds.
    """

    def __init__(self, agent_id: str, now_ms: Callable[[], int]) -> None:
        self._agent_id = agent_id
        self._now_ms = now_ms
        self._known_addresses: set[tuple[str, str]] = set()

    def make(
        self,
        target: str,
        message_type: str | TypedPayload,
        data: object,
        priority: int | str,
        ttl: float,
        message_id: str,
        headers: dict[str, str] | None,
        delivery: str = "",
        on_behalf_of: AgentMessage | None = None,
    ) -> Envelope:
        """A message to an agent; parameters and errors as for `Client.send`."""
        if not 0 < ttl * 1000 <= MAX_TTL_MS:
            raise UsageError(f"a message lives for more than 0 s and at most 30 days, not for {ttl} s")
        if not isinstance(message_type, str):
            message_type, data = message_type.TYPE, message_type
        if (target, message_type) not in self._known_addresses:
            check_target(target)
            check_message_type(message_type)
            if len(self._known_addresses) < MAX_KNOWN_ADDRESSES:
                self._known_addresses.add((target, message_type))
        turn = current_turn.get()
        flags = Flag.CHOSEN_ID if message_id else 0
        if delivery:
            mode = parse_delivery(delivery)
            # The id of what may take effect once is remembered, so that it can be sent again under it.
            flags |= mode.flag | (Flag.CHOSEN_ID if mode is DeliveryMode.EXACTLY_ONCE else 0)
        return Envelope(
            check_message_id(message_id) if message_id else new_message_id(),
            target,
            message_type,
            payload_bytes(data),
            self._now_ms(),
            max(1, int(ttl * 1000)),
            priority if type(priority) is int and 0 <= priority <= 10 else parse_priority(priority),
            flags,
            headers=_own(headers) if headers else headers,
            behalf=_proof_of(on_behalf_of) if on_behalf_of is not None else b"",
            parent=turn.message_id if turn is not None and turn.agent_id == self._agent_id else "",
        )

    def to_gateway(self, message_type: str, data: object) -> Envelope:
        """A message to the gateway itself."""
        return Envelope(new_message_id(), GATEWAY, message_type, payload_bytes(data), self._now_ms())


def _own(headers: dict[str, str]) -> dict[str, str]:
    """Headers without what only a gateway may say, so that those of a received message can be passed on."""
    if BEHALF_HEADER not in headers:
        return headers
    return {name: value for name, value in headers.items() if name != BEHALF_HEADER}


def _proof_of(message: AgentMessage) -> bytes:
    if not message.capsule:
        raise UsageError(
            f"message {message.message_id} carries no proof of who asked, so nothing can be sent on its behalf",
            hint="requests carry one, and what was itself sent on somebody's behalf",
        )
    return message.capsule


def schedule(envelope: Envelope, deliver_at: datetime | None, deliver_after: float) -> None:
    """Say when a message is due."""
    if deliver_at is not None and deliver_after:
        raise UsageError("a message is due either at a time or after a time, not both")
    if deliver_at is not None:
        if deliver_at.tzinfo is None:
            raise UsageError("deliver_at needs a time zone", hint="datetime(..., tzinfo=UTC)")
        envelope.deliver_at = max(1, int(deliver_at.timestamp() * 1000))
    else:
        if not 0 < deliver_after * 1000 <= MAX_AHEAD_MS:
            raise UsageError(
                f"a message is due after more than 0 s and within 366 days, not {deliver_after} s"
            )
        envelope.delay_ms = max(1, int(deliver_after * 1000))
    envelope.flags |= Flag.SCHEDULED
