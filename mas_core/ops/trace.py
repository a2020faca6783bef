"""The story of one message, told from its audit records: decisions, attempts, replies, what its handler sent.

Nothing else is asked, so a trace says what can be proved and no more: that a message was handled shows in its
reply, in what its handler sent, or in a dead letter; a handler that answers nothing leaves no record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from mas_core.audit.record_files import Warn
from mas_core.base.ids import ERROR_ORDINAL, check_message_id, derived_message_id
from mas_core.base.resources import is_resource
from mas_core.errors import MessageNotFound
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import ACCEPTED, Finding
from mas_core.model.trace_context import implied_trace
from mas_core.ops import audit
from mas_core.ops.audit_filter import StoredRecord
from mas_core.ops.audit_sources import log_warning
from mas_core.ops.system import System

MAX_HOPS: Final = 200
MAX_DEPTH: Final = 16
_ENDS: Final = {
    "delivery.dead": "dead",
    "delivery.retry": "retrying",
    "dlq.retried": "delivered",
    "dlq.dropped": "dropped",
}


class HopEvent(msgspec.Struct, frozen=True):
    """Something that happened to a message after it was decided."""

    time: int
    """Unix milliseconds by the server's clock."""
    kind: str
    """As in the audit: delivery.retry, delivery.dead, dlq.retried, approval.approved, ..."""
    reason: str
    details: dict[str, object]
    seq: int


class Hop(msgspec.Struct, frozen=True):
    """One message, and what came of it."""

    id: str
    sender: str
    target: str
    type: str
    size: int
    """Bytes of the payload."""
    partition: int
    seq: int
    """Number of the audit record of the decision."""
    began: int
    """When the gateway's server took it in, Unix milliseconds; `decided` less the time that it waited."""
    decided: int
    """When the gateway decided, Unix milliseconds."""
    decision: str
    reason: str
    rule: str
    status: str
    """refused, held, scheduled, delivered, retrying, dead, dropped, answered, or failed (answered by an error)."""
    gateway: str
    waited_ms: int
    stages_us: dict[str, int]
    """Microseconds of each stage for the messages that were judged together; empty where another leads them."""
    findings: tuple[Finding, ...]
    trace_id: str
    """32 hex digits, as exported over OpenTelemetry: of the message's trace context, or implied by its id."""
    events: tuple[HopEvent, ...] = ()
    replies: tuple[Hop, ...] = ()
    children: tuple[Hop, ...] = ()
    """What its handler sent."""
    outcome: str = ""
    """What a topic, a vote, a group or a queue of tasks made of it: assigned, elected, late_vote, ..."""
    is_cut: bool = False
    """Whether it goes on, deeper or longer than is looked."""

    @property
    def ended(self) -> int:
        """When the last thing that is known of it happened, Unix milliseconds."""
        times = [self.decided, *(event.time for event in self.events)]
        return max(times + [hop.ended for hop in (*self.replies, *self.children)])


async def trace(system: System, identifier: str, *, warn: Warn = log_warning) -> Hop:
    """The story of a message from its sender to the last reply; that of a reply begins with what it answers.

    Args:
        system: The system.
        identifier: Id of a message.
        warn: Told in words what is damaged or missing in the audit.

    Raises:
        MessageNotFound: The audit knows nothing of it.
        InvalidIdentifier: It cannot be an id.
    """
    check_message_id(identifier)
    tracer = _Tracer(system, warn)
    found = await audit.get(system, identifier, with_caused=True, warn=warn)
    own = _decision_of(found, identifier)
    if own is not None and own.record.correlation_id:
        try:
            asked = await audit.get(system, own.record.correlation_id, with_caused=True, warn=warn)
        except MessageNotFound:
            asked = []
        if _decision_of(asked, own.record.correlation_id) is not None:
            return await tracer.hop(own.record.correlation_id, asked, 0)
    return await tracer.hop(identifier, found, 0)


class _Tracer:
    def __init__(self, system: System, warn: Warn) -> None:
        self._system = system
        self._warn = warn
        self._seen: set[str] = set()

    async def hop(self, identifier: str, records: Sequence[StoredRecord], depth: int) -> Hop:
        self._seen.add(identifier)
        about = [item for item in records if item.record.message_id == identifier]
        replies = [
            item
            for item in records
            if item.record.correlation_id == identifier and item.record.kind == "message"
        ]
        first = _decision_of(records, identifier) or (about or list(records))[0]
        events = tuple(_event(item.record) for item in about if item is not first)
        is_cut = depth >= MAX_DEPTH or len(self._seen) >= MAX_HOPS
        answers: list[Hop] = []
        children: list[Hop] = []
        if not is_cut:
            answers = [
                await self._follow(item.record.message_id, depth)
                for item in replies
                if item.record.message_id not in self._seen
            ]
            children = [
                await self._follow(item.record.message_id, depth)
                for item in records
                if item.record.parent_id == identifier and item.record.message_id not in self._seen
            ]
        record = first.record
        return Hop(
            identifier, record.sender, record.target, record.type, record.size, first.partition, record.seq,
            record.time - record.waited_ms, record.time, record.decision, record.reason, record.rule,
            _status(record, events, answers), record.gateway, record.waited_ms, record.stages_us,
            record.findings, _trace_id(record), events, tuple(answers), tuple(children),
            _outcome(record), is_cut,
        )  # fmt: skip

    async def _follow(self, identifier: str, depth: int) -> Hop:
        return await self.hop(identifier, await self._records(identifier), depth + 1)

    async def _records(self, identifier: str) -> list[StoredRecord]:
        try:
            return await audit.get(self._system, identifier, with_caused=True, warn=self._warn)
        except MessageNotFound:
            return []


def _decision_of(records: Sequence[StoredRecord], identifier: str) -> StoredRecord | None:
    """The record of the decision about a message: the first, since the same message may be sent again."""
    decided = [
        item for item in records if item.record.message_id == identifier and item.record.kind == "message"
    ]
    good = [item for item in decided if item.record.decision in ACCEPTED]
    return next(iter(good or decided), None)


def _trace_id(record: AuditRecord) -> str:
    if record.trace_id or not record.message_id:
        return record.trace_id
    return implied_trace(record.sender, record.message_id, record.target, record.correlation_id)


def _outcome(record: AuditRecord) -> str:
    outcome = record.details.get("outcome")
    return outcome if isinstance(outcome, str) and is_resource(record.target) else ""


def _event(record: AuditRecord) -> HopEvent:
    kind = record.kind if record.kind != "message" else f"message {record.decision}"
    return HopEvent(record.time, kind, record.reason, record.details, record.seq)


def _status(record: AuditRecord, events: Sequence[HopEvent], answers: Sequence[Hop]) -> str:
    if answers:
        error = derived_message_id(record.message_id, record.target, ERROR_ORDINAL)
        return "failed" if any(hop.id == error for hop in answers) else "answered"
    status = "delivered" if record.decision in ACCEPTED else "refused"
    if record.decision in ("held", "scheduled"):
        status = record.decision
    for event in events:
        status = _ENDS.get(event.kind, status)
        if event.kind in ("approval.approved", "schedule.delivered"):
            status = "delivered"
        elif event.kind in ("approval.rejected", "approval.expired", "schedule.cancelled"):
            status = "refused"
    return status
