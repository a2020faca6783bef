"""One audit record. Its stored bytes are the hashed bytes."""

from __future__ import annotations

import msgspec

from mas_core.model.decision import Finding


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided or changed, by whom and when.

    `seq` is dense within a partition, starting at 1, and `prev` is the SHA-256 (hex) of the encoded record
    before it, or 64 zeros for the first. Encoded as one JSON object without spaces, keys in the order below.
    """

    seq: int
    time: int
    """Unix milliseconds by the server's clock."""
    kind: str = "message"
    """message, or what else happened: frame, agent.attach, agent.detach, delivery.retry, delivery.dead,
    dlq.retried, dlq.dropped, dlq.restored, dlq.refused, dlq.ended, bus.trimmed, bus.refused,
    breaker.open, breaker.close, breaker.reset,
    approval.approved, approval.rejected, approval.expired;
    operator for what operators do, audit.query for what they ask of the audit;
    security for what gateways and servers noticed."""
    decision: str = ""
    """What was decided about a message; of an operator's act its phase: begun, done, failed, asked; of a
    notice: noticed."""
    reason: str = ""
    rule: str = ""
    sender: str = ""
    """The authenticated sender, never a claimed one."""
    key_id: str = ""
    target: str = ""
    type: str = ""
    message_id: str = ""
    correlation_id: str = ""
    instance: str = ""
    size: int = 0
    """Bytes of the payload as it arrived."""
    findings: tuple[Finding, ...] = ()
    payload_hmac: str = ""
    """HMAC-SHA-256 of the payload under a key that is not in Redis; hex."""
    gateway: str = ""
    actor: str = ""
    """For operator writes: user@host, where the gateway's keys vouch for it."""
    details: dict[str, object] = {}
    trace_id: str = ""
    """Of a message with a header `traceparent` (W3C Trace Context): its trace, 32 hex digits."""
    parent_id: str = ""
    """The message whose handler sent this one, as the sender says."""
    waited_ms: int = 0
    """How long a message lay in the ingress, by the server's clock."""
    stages_us: dict[str, int] = {}
    """Microseconds that each stage took for the messages that were judged together; on the first of them."""
    hmac_key: str = ""
    """Which key `payload_hmac` and `fingerprints` are made with: 8 hex digits."""
    fingerprints: dict[str, str] = {}
    """JSON Pointer of a leaf of the payload -> its keyed fingerprint, where the policy asks for it."""
    prev: str = ""
    """SHA-256 of the record before, hex."""


GENESIS = "0" * 64
