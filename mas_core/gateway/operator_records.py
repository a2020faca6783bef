"""Takes what operators and infrastructure wrote into the operator log into the audit chain.

The log lies in the store, where others may write too. Only an entry that an operator of the policy signed, or that
carries the MAC of the owner of the gateway's keys, is recorded as an act of that person; of anything else is
recorded that it was there, and what it claimed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mas_core.base.ids import AGENT_ID, MESSAGE_TYPE
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import MasError
from mas_core.gateway.ledger import Ledger
from mas_core.model.decision import Decision
from mas_core.model.operator_entry import MAC_PURPOSE, MAX_ENTRY_BYTES, OperatorEntry, Phase
from mas_core.model.policy import PolicyDocument
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.operator_proofs import SIGNATURE_SIZE, check_proof
from mas_core.store.stored import StoredFrame

log = get_logger(__name__)

KIND = "operator"
QUERY = "audit.query"
SECURITY = "security"
_KINDS: Mapping[Phase, str] = {"asked": QUERY, "noticed": SECURITY}
_CHANGES: Mapping[Phase, str] = {"asked": "question", "noticed": "facts"}
TIMELY_MS = 120_000
"""How much later than it was made an entry may be added to the log."""
REMEMBERED = 10_000
CLAIM_CHARACTERS = 200

_ENTRY = msgspec.json.Decoder(OperatorEntry)


class OperatorRecords:
    """Records entries of the operator log, whatever they hold.

    Args:
        keys: The gateway's keys.
        ledger: Where the records go.
        policy: Gives the policy in force, which names the operators.
    """

    def __init__(self, keys: GatewayKeys, ledger: Ledger, policy: Callable[[], PolicyDocument]) -> None:
        self._keys = keys
        self._policy = policy
        self._ledger = ledger
        self._seen: OrderedDict[str, str] = OrderedDict()
        """Id of an entry -> where it stood: a batch that was not committed is read again from the same place."""

    def record(self, stored: Sequence[StoredFrame], now: int) -> None:
        """Record these entries in their order; each leaves exactly one record."""
        for item in stored:
            try:
                self._record(item, now)
            except Exception as error:  # noqa: BLE001 - no entry may stop a partition
                log.error("operator.unreadable", entry=item.entry, trace=trace_of(error))
                self._refuse(item, now, Decision.INVALID, "the entry cannot be read", {})

    def _record(self, item: StoredFrame, now: int) -> None:
        proof, text = item.frame.header, item.frame.body
        if len(text) > MAX_ENTRY_BYTES:
            self._refuse(item, now, Decision.INVALID, "the entry is too long", {})
            return
        is_owner = self._keys.check_mac(MAC_PURPOSE, text, proof)
        if not is_owner and (reason := self._unproven(proof, text)):
            self._refuse(item, now, Decision.UNAUTHENTICATED, reason, _claims(text))
            return
        entry = _ENTRY.decode(text)
        if self._seen.get(entry.id, item.entry) != item.entry or item.arrived - entry.time > TIMELY_MS:
            reason = "the entry was recorded before, or comes long after it was made: it was played back"
            self._refuse(item, now, Decision.REPLAYED, reason, _claims(text))
            return
        self._seen[entry.id] = item.entry
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        subject = entry.subjects[0] if len(entry.subjects) == 1 else ""
        details: dict[str, object] = {
            "operation": entry.operation,
            "role": "" if is_owner else self._policy().operators[entry.actor].role,
            "at": entry.time,
            "write": entry.write,
            "host": entry.host,
            "source" if entry.phase == "noticed" else "context": entry.context,
            "command": entry.command,
            "subjects": list(entry.subjects),
            _CHANGES.get(entry.phase, "change"): entry.change,
            "error": entry.error,
        }
        self._ledger.record_event(
            _KINDS.get(entry.phase, KIND),
            now,
            decision=entry.phase,
            reason=entry.error if entry.phase == "denied" else entry.reason,
            target=subject if AGENT_ID.fullmatch(subject) else "",
            message_type=entry.action if MESSAGE_TYPE.fullmatch(entry.action) else "",
            actor=entry.actor,
            details={name: value for name, value in details.items() if value},
        )

    def _unproven(self, proof: bytes, text: bytes) -> str:
        """Why no operator of the policy has written this; empty if the one whom it names has."""
        if not proof:
            return "the entry was written without the gateway's keys, and no operator has signed it"
        if len(proof) < SIGNATURE_SIZE:
            return "the entry does not carry the MAC of the gateway's owner: it was forged or changed"
        entry = _ENTRY.decode(text)
        policy = self._policy()
        known = policy.operators.get(entry.actor)
        try:
            check_proof(entry.actor, known, text, proof, now=entry.time, revoked=policy.revoked_certificates)
        except MasError as error:
            return error.message
        return ""

    def _refuse(
        self, item: StoredFrame, now: int, decision: Decision, reason: str, claims: Mapping[str, object]
    ) -> None:
        text = item.frame.body
        details: dict[str, object] = {
            "entry": item.entry[:64],
            "size": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
        if claims:
            details["claimed"] = dict(claims)
        self._ledger.record_event(KIND, now, decision=decision, reason=reason, details=details)


def _claims(text: bytes) -> dict[str, object]:
    """What an entry says of itself that nobody vouches for; empty when it says nothing readable."""
    try:
        entry = _ENTRY.decode(text)
    except (ValueError, RecursionError):
        return {}
    claims = {
        "actor": entry.actor,
        "action": entry.action,
        "phase": entry.phase,
        "command": entry.command,
        "reason": entry.reason,
        "subjects": " ".join(entry.subjects[:20]),
    }
    return {name: value[:CLAIM_CHARACTERS] for name, value in claims.items() if value}
