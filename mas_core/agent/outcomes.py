"""Turns the gateway's decisions and agents' error replies into exceptions."""

from __future__ import annotations

from collections.abc import Mapping

from mas_core.errors import (
    AgentFailed,
    AgentNotFound,
    AuditUnavailable,
    Backpressure,
    CircuitOpen,
    Forbidden,
    InvalidPayload,
    MasError,
    MessageExpired,
    NoResponder,
    PayloadBlocked,
    Quarantined,
    RateLimited,
    Refused,
    ReplayDetected,
    SignatureInvalid,
    StateInvalid,
    StoreFull,
    TokenExpired,
    TokenRevoked,
    Unauthenticated,
    Unscannable,
)
from mas_core.model.decision import Decision, Receipt
from mas_core.model.message import AgentMessage
from mas_core.model.signature import SIGNATURE_INVALID, SIGNATURE_REQUIRED

_ERRORS: Mapping[Decision, type[MasError]] = {
    Decision.BLOCKED: PayloadBlocked,
    Decision.RATE_LIMITED: RateLimited,
    Decision.CIRCUIT_OPEN: CircuitOpen,
    Decision.DENIED: Forbidden,
    Decision.UNAUTHENTICATED: Unauthenticated,
    Decision.REPLAYED: ReplayDetected,
    Decision.EXPIRED: MessageExpired,
    Decision.INVALID: InvalidPayload,
    Decision.BACKPRESSURE: Backpressure,
    Decision.UNSCANNABLE: Unscannable,
    Decision.QUARANTINED: Quarantined,
    Decision.NOT_FOUND: AgentNotFound,
    Decision.STORE_FULL: StoreFull,
}

_BY_RULE: Mapping[str, type[MasError]] = {
    "token_revoked": TokenRevoked,
    "token_expired": TokenExpired,
    "no_responder": NoResponder,
    "audit_unavailable": AuditUnavailable,
    SIGNATURE_REQUIRED: SignatureInvalid,
    SIGNATURE_INVALID: SignatureInvalid,
}


_FAILURES: Mapping[str, type[MasError]] = {kind.code: kind for kind in (InvalidPayload, StateInvalid)}
"""Codes of error replies that have a class of their own."""


def refusal(receipt: Receipt, sender: str, target: str, message_type: str) -> MasError:
    """The exception that a receipt which is not a delivery stands for."""
    kind = _BY_RULE.get(receipt.rule) or _ERRORS.get(receipt.decision, Refused)
    message = receipt.reason
    if kind is Forbidden:
        message = f"{sender} may not send {message_type} to {target}"
    details: dict[str, object] = {
        "decision": str(receipt.decision),
        "message_id": receipt.message_id,
        "sender": sender,
        "target": target,
        "type": message_type,
    }
    if receipt.reason and receipt.reason != message:
        details["because"] = receipt.reason
    if receipt.rule:
        details["rule"] = receipt.rule
    if receipt.retry_after:
        details["retry_after"] = receipt.retry_after
    if receipt.findings:
        details["findings"] = [
            {
                "rule": item.rule,
                "category": item.category,
                "path": item.path,
                "start": item.start,
                "end": item.end,
            }
            for item in receipt.findings
        ]
    return kind(message, hint=receipt.hint, **details)


def failure(reply: AgentMessage) -> MasError:
    """The exception that an error reply stands for."""
    error = reply.data.get("error")
    fields: Mapping[str, object] = error if isinstance(error, dict) else {}
    text = str(fields.get("message") or "the agent answered with an error")
    kind = _FAILURES.get(str(fields.get("code")), AgentFailed)
    return kind(text, agent=reply.sender_id, agent_code=str(fields.get("code") or ""))


def error_payload(error: BaseException) -> dict[str, object]:
    """The payload of an error reply. Texts of unexpected exceptions stay with the agent: they may hold data."""
    if isinstance(error, MasError):
        return {"error": {"code": error.code, "message": error.message}}
    return {"error": {"code": "handler_failed", "message": f"the handler failed with {type(error).__name__}"}}
