"""What the gateway decided about a message, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Decision(StrEnum):
    """The fate of one message; `is_delivered` tells the good ones apart."""

    ALLOWED = "allowed"
    ALERT = "alert"
    REDACTED = "redacted"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate_limited"
    CIRCUIT_OPEN = "circuit_open"
    DENIED = "denied"
    UNAUTHENTICATED = "unauthenticated"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    INVALID = "invalid"
    HELD = "held"
    SCHEDULED = "scheduled"
    BACKPRESSURE = "backpressure"
    UNSCANNABLE = "unscannable"
    QUARANTINED = "quarantined"
    NOT_FOUND = "not_found"
    STORE_FULL = "store_full"

    @property
    def is_delivered(self) -> bool:
        """Whether the message went on to its target."""
        return self in DELIVERED

    @property
    def is_accepted(self) -> bool:
        """Whether the gateway took the message: it is delivered, or waits for a person or its time."""
        return self in ACCEPTED

    @property
    def is_transient(self) -> bool:
        """Whether the same message may pass later; such refusals leave no duplicate marker."""
        return self in _TRANSIENT


DELIVERED: Final[frozenset[str]] = frozenset({Decision.ALLOWED, Decision.ALERT, Decision.REDACTED})
"""Decisions about messages that went on to their targets; as texts, which is what records hold."""

ACCEPTED: Final[frozenset[str]] = DELIVERED | {Decision.HELD, Decision.SCHEDULED}
"""Those, and the decisions about messages that wait for a person or their time."""

_TRANSIENT = frozenset(
    {
        Decision.RATE_LIMITED,
        Decision.CIRCUIT_OPEN,
        Decision.BACKPRESSURE,
        Decision.QUARANTINED,
        Decision.STORE_FULL,
    }
)


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of sensitive data: what kind and where, never the text itself."""

    rule: str
    """Id of the rule, which names the kind: card, iban, ssn, email, ..."""
    category: str
    """pii, phi, pci, secret or custom."""
    path: str
    """JSON Pointer (RFC 6901) of the value; of a key: the pointer of its member followed by `#key`."""
    start: int
    """Offset of the first character in the value."""
    end: int
    """Offset after the last character in the value."""
    action: str
    """What the policy does about it: block, redact, alert."""
    severity: str = "medium"


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The gateway's answer about one message, given after the commit."""

    message_id: str
    decision: Decision
    reason: str = ""
    rule: str = ""
    findings: tuple[Finding, ...] = ()
    retry_after: float = 0.0
    """Seconds after which the same message may pass; 0 when that is not known."""
    hint: tuple[str, ...] = ()
    approval: str = ""
    """Of a held message: the approval that it waits for."""
    deliver_at: int = 0
    """Of a scheduled message: when it is due, in Unix milliseconds by the server's clock."""

    @property
    def is_delivered(self) -> bool:
        """Whether the message went on to its target."""
        return self.decision.is_delivered
