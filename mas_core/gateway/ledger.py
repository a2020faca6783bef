"""The owner's end of the audit chain: collects a batch's records into one block."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mas_core.audit.chain import Chain
from mas_core.base.ids import MESSAGE_ID, MESSAGE_TYPE
from mas_core.base.resources import TARGET
from mas_core.gateway.payload_evidence import PayloadEvidence
from mas_core.gateway.recent_work import RecentWork
from mas_core.gateway.transit import Transit
from mas_core.model.audit_record import GENESIS, AuditRecord
from mas_core.model.decision import ACCEPTED, Decision
from mas_core.model.trace_context import TraceContext, context_in
from mas_core.security.gateway_keys import GatewayKeys

NOTHING: Final[dict[str, int]] = {}
NO_FINGERPRINTS: Final[dict[str, str]] = {}


class Ledger:
    """Numbers and links records; what it collected is committed as one block or forgotten."""

    def __init__(self, keys: GatewayKeys, gateway_id: str, work: RecentWork) -> None:
        self._keys = keys
        self._gateway_id = gateway_id
        self._work = work
        self._block: list[bytes] = []
        self._chain = Chain()
        self.payload_evidence: PayloadEvidence | None = None
        """What the policy asks to be kept of payloads; None while it asks for nothing."""
        self.is_traced = False
        """Whether the trace contexts of messages are kept until their records are committed."""
        self._contexts: dict[int, TraceContext] = {}

    @property
    def seq(self) -> int:
        """Number of the last record."""
        return self._chain.seq

    @property
    def head(self) -> str:
        """Hash of the last record."""
        return self._chain.head

    def restart(self, seq: int, head: str) -> None:
        """Go on from what the store says is the last record."""
        self._chain = Chain(seq, head or GENESIS)
        self._block.clear()
        self._contexts = {}
        if self.payload_evidence is not None:
            self.payload_evidence.take_copies()

    def record_message(self, transit: Transit) -> None:
        """Record the decision about a message."""
        self.record_messages((transit,))

    def record_messages(self, transits: Iterable[Transit], stages_us: dict[str, int] = NOTHING) -> None:
        """Record the decisions about messages, in this order.

        Args:
            transits: Messages that were judged together.
            stages_us: Microseconds that each stage took for all of them; on the record of the first.
        """
        chain, block, fingerprint = self._chain, self._block, self._keys.payload_hmac
        key_id, gateway_id, evidence = self._keys.fingerprint_key_id, self._gateway_id, self.payload_evidence
        work, waited = self._work, self._work.waits_ms.append
        fields: dict[str, str] = NO_FINGERPRINTS
        for transit in transits:
            envelope = transit.envelope
            decision: str = transit.decision
            reason = transit.reason
            if transit.is_repeat:
                decision, reason = Decision.REPLAYED, f"the same message was decided before: {decision}"
            elif decision not in ACCEPTED:
                work.refused += 1
            waited(transit.waited_ms)
            target, message_type, message_id = envelope.target, envelope.type, envelope.id
            if not transit.is_well_formed:
                # Of what is not an id the audit keeps nothing.
                target = _if_formed(TARGET, target)
                message_type = _if_formed(MESSAGE_TYPE, message_type)
                message_id = _if_formed(MESSAGE_ID, message_id)
            if evidence is not None:
                fields = evidence.fingerprints(transit)
                evidence.keep_copy(transit, chain.seq + 1)
            context = None if envelope.headers is None else context_in(envelope.headers)
            if context is not None and self.is_traced:
                self._contexts[chain.seq + 1] = context
            record = AuditRecord(
                chain.seq + 1,
                transit.now,
                "message",
                decision,
                reason,
                transit.rule,
                transit.sender,
                transit.key_id,
                target,
                message_type,
                message_id,
                _if_formed(MESSAGE_ID, envelope.correlation) if transit.is_reply else "",
                transit.instance,
                len(envelope.data),
                transit.findings,
                fingerprint(envelope.data),
                gateway_id,
                "",
                transit.details or {},
                "" if context is None else context.trace_id,
                _if_formed(MESSAGE_ID, envelope.parent) if envelope.parent else "",
                transit.waited_ms,
                stages_us,
                key_id,
                fields,
                chain.head,
            )
            stages_us = NOTHING
            block.append(chain.append_linked(record))

    def record_event(
        self,
        kind: str,
        now: int,
        *,
        decision: str = "",
        reason: str = "",
        sender: str = "",
        target: str = "",
        message_type: str = "",
        message_id: str = "",
        instance: str = "",
        actor: str = "",
        details: dict[str, object] | None = None,
    ) -> None:
        """Record something that is not a message passing through."""
        self._append(
            AuditRecord(
                seq=self._chain.seq + 1,
                time=now,
                kind=kind,
                decision=decision,
                reason=reason,
                sender=sender,
                target=target,
                type=message_type,
                message_id=message_id,
                instance=instance,
                gateway=self._gateway_id,
                actor=actor,
                details=details or {},
                prev=self._chain.head,
            )
        )

    def take_block(self) -> bytes:
        """What was collected, one record a line; empty when nothing was."""
        block = b"\n".join(self._block)
        self._block.clear()
        return block

    def take_contexts(self) -> dict[int, TraceContext]:
        """Number of a record of the block -> the trace context of its message, where that has one."""
        contexts, self._contexts = self._contexts, {}
        return contexts

    def _append(self, record: AuditRecord) -> None:
        self._block.append(self._chain.append_linked(record))


def _if_formed(pattern: re.Pattern[str], text: str) -> str:
    """`text` if it is what it should be: of anything else the audit keeps nothing."""
    return text if pattern.fullmatch(text) else ""
