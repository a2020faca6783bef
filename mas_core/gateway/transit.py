"""One message on its way through the stages, and what they decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import msgspec

from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.model.decision import Decision, Finding, Receipt
from mas_core.model.message import Capsule, Envelope, Flag
from mas_core.model.signature import Proof

log = get_logger(__name__)


class Verdict(msgspec.Struct, frozen=True):
    """The end of a message's journey: a decision and its reason."""

    decision: Decision
    reason: str
    rule: str = ""
    findings: tuple[Finding, ...] = ()
    retry_after: float = 0.0
    hint: tuple[str, ...] = ()


class Transit(msgspec.Struct):
    """A message with everything the stages have learned about it.

    `sender`, `instance` and `key_id` come from the frame that opened, never from the message.
    """

    envelope: Envelope
    sender: str
    instance: str
    key_id: str
    now: int
    """Unix milliseconds by the server's clock."""
    is_reply: bool = False
    """Whether this answers a request."""
    expects_reply: bool = False
    """Whether the sender waits for an answer."""
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
    hold_rule: str = ""
    """The rule that lets it go only once a person has approved it."""
    approval: str = ""
    """The approval that it waits for."""
    capsule: Capsule | None = None
    """Of a reply: the permit it came with, once checked."""
    behalf: tuple[str, ...] = ()
    """On whose behalf it is sent, from who asked first, once checked."""
    proof: Proof | None = None
    """The sender's signature, once checked."""
    details: dict[str, object] | None = None
    """What the audit keeps of it beside the decision."""
    is_encrypted: bool = False
    """Whether the payload is end-to-end encrypted, so that nobody here can scan it."""
    is_within_limit: bool = True
    """Whether a place of the sender's rate limit was reserved for it."""
    waited_ms: int = 0
    """How long it lay in the ingress, by the server's clock."""
    is_well_formed: bool = False
    """Whether its ids and its type are what they should be, so that they can be recorded."""
    due: int = 0
    """Of a message that was sent for later: when it is due, in Unix milliseconds by the server's clock."""
    is_for_resource: bool = False
    """Whether it is addressed to a resource, whose machine takes it, and not to an agent."""
    is_repeat: bool = False
    """The same message was decided before; its receipt is given again and nothing else happens."""

    @classmethod
    def of(cls, envelope: Envelope, sender: str, instance: str, key_id: str, now: int) -> Transit:
        """A message that begins its way."""
        flags = envelope.flags
        if not flags:
            return cls(envelope, sender, instance, key_id, now)
        is_reply, expects_reply = bool(flags & Flag.IS_REPLY), bool(flags & Flag.EXPECTS_REPLY)
        return cls(envelope, sender, instance, key_id, now, is_reply, expects_reply)

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
            self.approval,
            self.due if self.decision is Decision.SCHEDULED else 0,
        )


@dataclass(slots=True)
class Surroundings:
    """What is true for a whole batch."""

    now: int
    places: dict[str, int] = field(default_factory=dict)
    """Sender, or name of a total -> places of its rate limit that no message has taken yet."""
    limit_retry: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Sender, or name of a total -> seconds until one more fits, and the window that is full."""
    turned_back: list[Transit] = field(default_factory=list)
    """Messages that an open circuit, an absent target or a full inbox has stopped."""
    held: list[tuple[Transit, Decision]] = field(default_factory=list)
    """Messages that wait for a person, with what was decided about them otherwise."""
    has_scheduled: bool = False
    """Whether any message is sent for later."""
    scheduled: list[tuple[Transit, Decision]] = field(default_factory=list)
    """Messages that wait until they are due, with what was decided about them otherwise."""
    stages_us: dict[str, int] = field(default_factory=dict)
    """Microseconds that each stage took for the messages that were judged together last."""


class Stage(Protocol):
    """One check. A stage knows no other stage."""

    name: str

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """A verdict ends the journey; None lets the message go on."""


@runtime_checkable
class Sieve(Stage, Protocol):
    """A stage that looks at many messages in less time than one by one."""

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that go on; the others have ended as by `check`."""


def one_by_one(stage: Stage, transits: Iterable[Transit], batch: Surroundings) -> list[Transit]:
    """Those that a stage lets go on when it looks at each alone; the others have ended.

    A stage that fails on a message ends that message's journey, and only that.
    """
    going = []
    for transit in transits:
        try:
            verdict = stage.check(transit, batch)
        except Exception as error:  # noqa: BLE001 - one message must not stop a partition
            log.error("stage.failed", stage=stage.name, trace=trace_of(error))
            verdict = Verdict(Decision.UNSCANNABLE, f"the stage {stage.name} failed on this message")
        if verdict is None:
            going.append(transit)
        else:
            transit.end(verdict)
    return going
