"""Messages that are sent for later: what is kept of them, and what follows.

scheduled ──due──▶ every check passes ──▶ delivered
    │                 ├──a rule holds it─▶ held for approval
    │                 └──a check says no─▶ dead letter
    └───cancel────▶ cancelled
"""

from __future__ import annotations

from typing import Final

import msgspec

from mas_core.model.decision import Decision, Finding
from mas_core.model.message import Delivery

SCHEDULE_PREFIX: Final = "schedule/"
"""Begins the names of scheduled messages among those for later; no agent id holds a slash."""
MAX_AHEAD_MS: Final = 366 * 24 * 3_600_000
"""How far ahead a message can be scheduled."""

_ITEM = "item:"
_CANCEL = "cancel:"


class ScheduledFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a scheduled message; nothing of its payload."""

    sender: str
    target: str
    type: str
    message_id: str
    size: int
    """Bytes of the payload as it would be delivered by what the policy said when it was sent."""
    due: int
    """Unix milliseconds by the server's clock."""
    ttl_ms: int
    """Its time to live, which begins when it is due."""
    scheduled_at: int
    """Unix milliseconds by the server's clock."""
    decision: Decision = Decision.ALLOWED
    """What was decided about it otherwise: allowed, alert or redacted."""
    findings: tuple[Finding, ...] = ()
    is_encrypted: bool = False
    priority: int = 5
    delivery: str = ""
    """How often it is handled, where its sender says so."""
    instance: str = ""
    key_id: str = ""
    recurring: str = ""
    """Under which name decisions about it are remembered; empty when its id does not come again."""

    @property
    def id(self) -> str:
        """What it is called: a sender can have one message of an id scheduled for a target at a time."""
        return schedule_id(self.target, self.sender, self.message_id)

    @property
    def expires_at(self) -> int:
        """Unix milliseconds after which it is of no use any more."""
        return self.due + self.ttl_ms


class ScheduledMessage(msgspec.Struct, array_like=True, frozen=True):
    """A scheduled message as it is sealed in the store."""

    facts: ScheduledFacts
    delivery: Delivery


class Cancellation(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a person does not want it delivered."""

    by: str
    """user@host."""
    at: int
    """Unix milliseconds by the server's clock."""
    reason: str = ""


class ScheduleOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a scheduled message that somebody wanted to cancel."""

    is_cancelled: bool
    reason: str = ""
    by: str = ""


def schedule_id(target: str, sender: str, message_id: str) -> str:
    """What a scheduled message is called."""
    return f"{target}/{sender}/{message_id}"


def due_name(scheduled: str) -> str:
    """What a scheduled message is called among those for later."""
    return f"{SCHEDULE_PREFIX}{scheduled}"


def parts_of(name: str) -> tuple[str, str, str] | None:
    """Target, sender and message id in a name among those for later; None when it is of something else."""
    parts = name.removeprefix(SCHEDULE_PREFIX).split("/")
    if not name.startswith(SCHEDULE_PREFIX) or len(parts) != 3:
        return None
    return parts[0], parts[1], parts[2]


def item_field(scheduled: str) -> str:
    """Where the facts of a scheduled message are."""
    return f"{_ITEM}{scheduled}"


def cancel_field(scheduled: str) -> str:
    """Where it stands that somebody cancelled it."""
    return f"{_CANCEL}{scheduled}"


def item_in(field: str) -> str | None:
    """The scheduled message whose facts are in a field; None for other fields."""
    return field.removeprefix(_ITEM) if field.startswith(_ITEM) else None


def seal_purpose(scheduled: str) -> str:
    """What the message is sealed for, so that it counts under its own name only."""
    return f"scheduled:{scheduled}"


def mac_purpose(field: str) -> str:
    """What facts, cancellations and outcomes carry their MAC for."""
    return f"schedule:{field}"
