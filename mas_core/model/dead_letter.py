"""Dead letters: what is kept of messages that were given up, and what operators can order about them.

dead ──retry──▶ delivered
 │ ▲ └───────── a check says no: it stays
 │ └─restore──┐
 └───drop──▶ dropped ──after 24 hours──▶ gone
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from mas_core.model.message import Attempt, Delivery
from mas_core.model.retry import MAX_ATTEMPTS

LETTER_ID: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,20})(?:-([0-9]{1,20}))?")
"""The partition and the place in its stream; the number behind the time only where it is not 0."""

ORDER_PREFIX: Final = "dlq/order/"
"""Begins the names of orders among what is due; no agent id holds a slash."""
END_PREFIX: Final = "dlq/end/"
"""Begins the names of dropped dead letters among what is due: when they end for good."""

DROPPED_MS: Final = 24 * 3_600_000
"""How long a dropped dead letter can be restored."""
ORDER_COUNTS_MS: Final = 3_600_000
"""An order that nobody carried out for so long is not carried out any more, nor one that was played back."""
MAX_ATTEMPTS_KEPT: Final = 2 * MAX_ATTEMPTS
"""The newest are kept; all of them for a message that no operator has had tried again more than once."""
RETRIED: Final = "retried"
"""Code of the entry which says that an operator had a message tried again."""

Act = Literal["retry", "drop", "restore"]


class LetterFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator needs to know of a dead letter; nothing of its payload."""

    seq: int
    """Number of the audit record which says that the message was given up."""
    message_id: str
    sender: str
    target: str
    type: str
    size: int
    """Bytes of the payload as it was delivered."""
    code: str
    reason: str
    attempts: int
    dead_at: int
    """Unix milliseconds by the server's clock."""
    accepted_at: int
    history: tuple[Attempt, ...] = ()
    expects_reply: bool = False
    is_encrypted: bool = False
    priority: int = 5


class LetterOrder(msgspec.Struct, array_like=True, frozen=True):
    """What an operator wants done with one dead letter; sealed in the store."""

    id: str
    act: Act
    by: str
    """user@host."""
    at: int
    """Unix milliseconds by the server's clock."""
    note: str = ""
    data: bytes | None = None
    """Of a retry: JSON text of the payload to deliver instead."""
    approves: bool = False
    """Of a retry: deliver it also where a rule holds such messages until somebody approves them."""


class LetterEnd(msgspec.Struct, array_like=True, frozen=True):
    """When a dropped dead letter goes for good; sealed in the store."""

    at: int
    """Unix milliseconds by the server's clock."""


class OrderOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of an order."""

    is_done: bool
    decision: str = ""
    """Of a retry: what the checks decided."""
    reason: str = ""


def begun_at(delivery: Delivery) -> int:
    """When the attempts of a message began: when it was accepted, or an operator had it tried again last."""
    for attempt in reversed(delivery.history):
        if attempt.code == RETRIED and not attempt.number:
            return attempt.at
    return delivery.accepted_at


def letter_id(partition: int, entry: str) -> str:
    """What a dead letter is called by operators."""
    return f"{partition}:{entry.removesuffix('-0')}"


def read_letter_id(text: str) -> tuple[int, str] | None:
    """Partition and place of a dead letter; None when this is not the id of one."""
    found = LETTER_ID.fullmatch(text)
    return (int(found[1]), f"{found[2]}-{found[3] or 0}") if found else None


def seal_purpose(partition: int, seq: int) -> str:
    """What the message is sealed for, so that it counts with its own facts only."""
    return f"dead:{partition}-{seq}"


def facts_purpose(partition: int) -> str:
    """What the facts carry their MAC for."""
    return f"dead-letter:{partition}"


def due_purpose(partition: int, name: str) -> str:
    """What orders and ends are sealed for, so that each counts for one dead letter only."""
    return f"{partition}:{name}"


def outcome_purpose(order_id: str) -> str:
    """What the outcome of an order carries its MAC for."""
    return f"dead-letter-outcome:{order_id}"
