"""The owner's end of the audit chain: collects a batch's records into one block."""

from __future__ import annotations

import re

from mas_core.audit.chain import Chain
from mas_core.base.ids import AGENT_ID, MESSAGE_ID, MESSAGE_TYPE
from mas_core.gateway.transit import Transit
from mas_core.model.audit_record import GENESIS, AuditRecord
from mas_core.model.decision import Decision
from mas_core.security.gateway_keys import GatewayKeys


class Ledger:
    """Numbers and links records; what it collected is committed as one block or forgotten."""

    def __init__(self, keys: GatewayKeys, gateway_id: str) -> None:
        self._keys = keys
        self._gateway_id = gateway_id
        self._block: list[bytes] = []
        self._chain = Chain()

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

    def record_message(self, transit: Transit) -> None:
        """Record the decision about a message."""
        envelope = transit.envelope
        if transit.is_repeat:
            decision, reason = Decision.REPLAYED, f"the same message was decided before: {transit.decision}"
        else:
            decision, reason = transit.decision, transit.reason
        self._append(
            AuditRecord(
                seq=self._chain.seq + 1,
                time=transit.now,
                decision=decision,
                reason=reason,
                rule=transit.rule,
                sender=transit.sender,
                key_id=transit.key_id,
                target=_if_formed(AGENT_ID, envelope.target),
                type=_if_formed(MESSAGE_TYPE, envelope.type),
                message_id=_if_formed(MESSAGE_ID, envelope.id),
                correlation_id=_if_formed(MESSAGE_ID, envelope.correlation) if transit.is_reply else "",
                instance=transit.instance,
                size=len(envelope.data),
                findings=transit.findings,
                payload_hmac=self._keys.payload_hmac(envelope.data),
                gateway=self._gateway_id,
                prev=self._chain.head,
            )
        )

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
                details=details or {},
                prev=self._chain.head,
            )
        )

    def take_block(self) -> bytes:
        """What was collected, one record a line; empty when nothing was."""
        block = b"\n".join(self._block)
        self._block.clear()
        return block

    def _append(self, record: AuditRecord) -> None:
        self._block.append(self._chain.append_linked(record))


def _if_formed(pattern: re.Pattern[str], text: str) -> str:
    """`text` if it is what it should be: of anything else the audit keeps nothing."""
    return text if pattern.fullmatch(text) else ""
