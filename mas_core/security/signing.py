"""Signs messages with the Ed25519 key that derives from an agent's token."""

from __future__ import annotations

import os

from mas_core.model.message import Envelope
from mas_core.model.signature import (
    ALGORITHM,
    SALT_BYTES,
    Signature,
    Statement,
    headers_digest,
    payload_digest,
)
from mas_core.security.tokens import AgentKeys


def sign(keys: AgentKeys, namespace: str, envelope: Envelope) -> Signature:
    """The sender's signature of a message."""
    salt = os.urandom(SALT_BYTES)
    unsigned = Signature(ALGORITHM, keys.key_id, salt, b"")
    statement = statement_of(envelope, unsigned, keys.agent_id, namespace)
    return Signature(ALGORITHM, keys.key_id, salt, keys.signing_key.sign(statement.signed_bytes()))


def statement_of(envelope: Envelope, signature: Signature, sender: str, namespace: str) -> Statement:
    """What the signature of a message has to cover."""
    return Statement(
        namespace=namespace,
        sender=sender,
        key_id=signature.key_id,
        target=envelope.target,
        type=envelope.type,
        message_id=envelope.id,
        sent_at=envelope.sent_at,
        ttl_ms=envelope.ttl_ms,
        priority=envelope.priority,
        flags=envelope.flags,
        correlation=envelope.correlation,
        payload=payload_digest(signature.salt, envelope.data),
        headers=headers_digest(signature.salt, envelope.headers),
        algorithm=signature.algorithm,
    )
