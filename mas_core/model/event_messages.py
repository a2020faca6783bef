"""Events on their way through the gateway: messages to the agent that keeps them.

The message says who tells and what kind of thing happened, and only that counts: its sender is the one that the
gateway has authenticated. The payload has the rest as a CloudEvent has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mas_core.base.clock import rfc3339
from mas_core.errors import EventInvalid
from mas_core.model.cloud_events import SPEC_VERSION, from_cloudevent, to_cloudevent
from mas_core.model.event import Event, Extension
from mas_core.model.message import AgentMessage, Payload

RECORDER: Final = "event-recorder"
"""Id of the agent that keeps events."""
_OF_MESSAGE: Final = ("id", "source", "type")


def emitted(
    data: object = None, *, topic: str = "", extensions: Mapping[str, Extension] | None = None
) -> Payload:
    """The payload of a message that emits an event; id, source, type and time are those of the message.

    Raises:
        EventInvalid: The topic or an extension cannot be.
    """
    # A type and a source of no event; what the message says takes their place.
    found = to_cloudevent(Event("x", "x", data, topic, "x", 0, extensions or {}))
    return {name: value for name, value in found.items() if name not in {*_OF_MESSAGE, "time"}}


def event_of(message: AgentMessage) -> Event:
    """The event that a message tells of; one whose payload is no CloudEvent is its data as a whole.

    Raises:
        EventInvalid: The payload wants to be a CloudEvent and cannot be one.
    """
    payload = message.data
    own: Payload = {
        "id": message.message_id,
        "source": message.sender_id,
        "type": message.message_type,
        "time": rfc3339(int(message.timestamp * 1000)),
    }
    if message.topic:
        own["topic"] = message.topic
    if "specversion" not in payload:
        return from_cloudevent({"specversion": SPEC_VERSION, **own, "data": payload})
    told = {name: value for name, value in payload.items() if value is not None}
    if "id" in told and not isinstance(told["id"], str):
        raise EventInvalid("the id of an event is a text")
    decided: Payload = {name: own[name] for name in ("source", "type", "topic") if name in own}
    return from_cloudevent({**own, **told, **decided})
