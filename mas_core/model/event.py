"""Events: something that happened, told to whoever wants to know; nobody has to answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from mas_core.base.clock import now_ms
from mas_core.base.ids import new_message_id
from mas_core.errors import EventInvalid

EVENT_NAME: Final = re.compile(r"[!-)+-=?-~]{1,256}")
"""Types and topics: visible ASCII without the wildcards `*` and `>`."""
VISIBLE: Final = re.compile(r"[!-~]{1,256}")
"""Sources and ids: visible ASCII."""
EXTENSION_NAME: Final = re.compile(r"[a-z0-9]{1,20}")

Extension = str | int | bool
_NO_EXTENSIONS: Final[Mapping[str, Extension]] = {}
_names: set[str] = set()
_sources: set[str] = set()
_MOST_CHECKED: Final = 4096


class EventType(StrEnum):
    """Types that mas itself emits, and those that several parts of a system have to agree on."""

    TASK_STARTED = "task.started"
    TASK_PROGRESS = "task.progress"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    AGENT_UNHEALTHY = "mas.agent.unhealthy"
    AGENT_RECOVERED = "mas.agent.recovered"
    AGENT_STARTED = "mas.agent.started"
    AGENT_STOPPED = "mas.agent.stopped"
    AGENT_GONE = "mas.agent.gone"
    GATEWAY_UNHEALTHY = "mas.gateway.unhealthy"
    GATEWAY_RECOVERED = "mas.gateway.recovered"
    SYSTEM_UNHEALTHY = "mas.system.unhealthy"
    SYSTEM_RECOVERED = "mas.system.recovered"
    BREAKER_OPENED = "mas.breaker.opened"
    BREAKER_CLOSED = "mas.breaker.closed"
    MESSAGE_DEAD = "mas.message.dead"
    SUBSCRIPTION_DISABLED = "mas.subscription.disabled"


class Event(msgspec.Struct, frozen=True):
    """Something that happened.

    Args:
        type: What kind of thing, in words with dots: `order.created`.
        source: Who tells it, such as an agent's id; together with `id` it names the event.
        data: What there is to know: anything that JSON can say, or bytes.
        topic: Where it belongs, in words with dots, if anywhere.
        id: A ULID when left out.
        time: Unix milliseconds; now when left out.
        extensions: Further attributes as CloudEvents has them, such as `subject`.

    Raises:
        EventInvalid: A name is empty, too long, or has spaces, wildcards or other than ASCII characters.
    """

    type: str
    source: str
    data: object = None
    topic: str = ""
    id: str = msgspec.field(default_factory=new_message_id)
    time: int = msgspec.field(default_factory=now_ms)
    extensions: Mapping[str, Extension] = _NO_EXTENSIONS

    def __post_init__(self) -> None:
        """Check the names."""
        # Few names come again and again, so each is checked once.
        if self.type not in _names:
            _remember(_names, check_name(self.type, "type"))
        if self.source not in _sources:
            _remember(_sources, _check(VISIBLE, self.source, "source"))
        if self.topic and self.topic not in _names:
            _remember(_names, check_name(self.topic, "topic"))
        _check(VISIBLE, self.id, "id")


def check_name(text: object, what: str) -> str:
    """Return `text` when it can be a type or a topic of an event.

    Raises:
        EventInvalid: It cannot; `what` says what it was to be.
    """
    return _check(EVENT_NAME, text, what)


def _check(allowed: re.Pattern[str], text: object, what: str) -> str:
    if isinstance(text, str) and allowed.fullmatch(text):
        return text
    without = " and '*' and '>'" if allowed is EVENT_NAME else ""
    raise EventInvalid(
        f"{str(text)[:80]!r} cannot be the {what} of an event",
        hint=f"1 to 256 visible ASCII characters, without spaces{without}",
    )


def _remember(known: set[str], text: str) -> None:
    if len(known) >= _MOST_CHECKED:
        known.clear()
    known.add(text)
