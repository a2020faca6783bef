"""One message on its way through the stages, and what they decide."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mas_core.model.decision import Decision, Finding, Receipt
from mas_core.model.message import Capsule, Envelope, Flag


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a message's journey: a decision and its reason."""

    decision: Decision
    reason: str
    rule: str = ""
    findings: tuple[Finding, ...] = ()
    retry_after: float = 0.0
    hint: tuple[str, ...] = ()


@dataclass(slots=True)
class Transit:
    """A message with everything the stages have learned about it.

    `sender`, `instance` and `key_id` come from the frame that opened, never from the message.
    """

    envelope: Envelope
    sender: str
    instance: str
    key_id: str
    now: int
    """Unix milliseconds by the server's clock."""
    value: object = None
    """The payload, once parsed."""
    data: bytes = b""
    """The JSON text to be delivered: exactly what was parsed and scanned."""
    decision: Decision = Decision.ALLOWED
    reason: str = ""
    rule: str = ""
    findings: tuple[Finding, ...] = ()
    retry_after: float = 0.0
    hint: tuple[str, ...] = ()
    capsule: Capsule | None = None
    """Of a reply: the permit it came with, once checked."""
    is_within_limit: bool = True
    """Whether a place of the sender's rate limit was reserved for it."""
    is_reply: bool = field(init=False)
    """Whether this answers a request."""
    expects_reply: bool = field(init=False)
    """Whether the sender waits for an answer."""
    is_repeat: bool = False
    """The same message was decided before; its receipt is given again and nothing else happens."""

    def __post_init__(self) -> None:
        flags = self.envelope.flags
        self.is_reply = bool(flags & Flag.IS_REPLY)
        self.expects_reply = bool(flags & Flag.EXPECTS_REPLY)

    def end(self, verdict: Verdict) -> None:
        """Take over a verdict."""
        self.decision = verdict.decision
        self.reason = verdict.reason
        self.rule = verdict.rule
        self.findings = verdict.findings or self.findings
        self.retry_after = verdict.retry_after
        self.hint = verdict.hint

    def receipt(self) -> Receipt:
        """What the sender is told."""
        return Receipt(
            self.envelope.id,
            self.decision,
            self.reason,
            self.rule,
            self.findings,
            self.retry_after,
            self.hint,
        )


@dataclass(slots=True)
class Surroundings:
    """What is true for a whole batch."""

    now: int
    limit_retry: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Sender -> seconds until more, and the window that is full."""


class Stage(Protocol):
    """One check. A stage knows no other stage."""

    name: str

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """A verdict ends the journey; None lets the message go on."""
