"""Messages that wait for a person: what is kept of them, what is decided, and what follows.

waiting ──approve──▶ approved ──every check passes──▶ delivered
   │                    │ └───a check says no───────▶ refused
   │                    └─────too late──────────────▶ expired
   ├─────reject──────▶ rejected
   └─────too late────▶ expired
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

from mas_core.model.decision import Decision, Finding
from mas_core.model.message import Delivery

APPROVAL_ID: Final = re.compile(r"[0-9]{1,5}-[0-9]{1,16}")
"""The partition, and the number of the audit record which says that the message is held."""

DUE_PREFIX: Final = "approval/"
"""Begins the names of held messages among those for later; no agent id holds a slash."""

_ITEM = "item:"
_DECISION = "decision:"


class ApprovalState(StrEnum):
    """Where a held message stands before anything is delivered."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class HeldFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an approver needs to know of a held message; nothing of its payload."""

    approval_id: str
    sender: str
    target: str
    type: str
    message_id: str
    size: int
    """Bytes of the payload as it would be delivered."""
    rule: str
    """Id of the rule that holds it."""
    held_at: int
    """Unix milliseconds by the server's clock."""
    expires_at: int
    """Unix milliseconds: the approval's end or the message's own, whichever comes first."""
    decision: Decision = Decision.ALLOWED
    """What was decided about it otherwise: allowed, alert or redacted."""
    findings: tuple[Finding, ...] = ()
    expects_reply: bool = False
    is_encrypted: bool = False
    priority: int = 5
    instance: str = ""
    key_id: str = ""


class HeldMessage(msgspec.Struct, array_like=True, frozen=True):
    """A held message as it is sealed in the store."""

    facts: HeldFacts
    delivery: Delivery


class ApprovalDecision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person decided; the first one counts."""

    approved: bool
    by: str
    """user@host."""
    at: int
    """Unix milliseconds by the server's clock."""
    reason: str = ""


class ApprovalOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a held message in the end."""

    decision: str
    """A decision; delivered where that is one of the good ones."""
    reason: str = ""
    is_delivered: bool = False
    approved: bool | None = None
    """What was decided; None when nobody did."""
    by: str = ""
    """Who decided: user@host."""


def state_of(expires_at: int, decision: ApprovalDecision | None, now: int) -> ApprovalState:
    """Where a held message stands at `now`: a rejection is for good, an approval until it is too late."""
    if decision is not None and not decision.approved:
        return ApprovalState.REJECTED
    if now >= expires_at:
        return ApprovalState.EXPIRED
    return ApprovalState.APPROVED if decision is not None else ApprovalState.WAITING


def approval_id_of(partition: int, seq: int) -> str:
    """The id of the approval that the audit record `seq` asks for."""
    return f"{partition}-{seq}"


def partition_in(approval_id: str) -> int:
    """The partition that an approval belongs to."""
    return int(approval_id.partition("-")[0])


def seq_in(approval_id: str) -> int:
    """The number of the audit record which says that the message is held."""
    return int(approval_id.partition("-")[2])


def due_name(approval_id: str) -> str:
    """What a held message is called among those for later."""
    return f"{DUE_PREFIX}{approval_id}"


def item_field(approval_id: str) -> str:
    """Where the facts of a held message are."""
    return f"{_ITEM}{approval_id}"


def decision_field(approval_id: str) -> str:
    """Where the decision about a held message is."""
    return f"{_DECISION}{approval_id}"


def item_in(field: str) -> str | None:
    """The approval whose facts are in a field; None for other fields."""
    return field.removeprefix(_ITEM) if field.startswith(_ITEM) else None


def seal_purpose(approval_id: str) -> str:
    """What the sealed message is sealed for, so that it counts for this approval only."""
    return f"held:{approval_id}"


def mac_purpose(field: str) -> str:
    """What facts and decisions carry their MAC for."""
    return f"approval:{field}"
