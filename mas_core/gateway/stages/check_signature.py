"""Checks the sender's own signature of a message, which stays with it as proof that rests on no gateway."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

import msgspec

from mas_core.errors import SignatureInvalid
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Flag
from mas_core.model.registration import AgentKey
from mas_core.model.signature import ALGORITHM, SALT_BYTES, SIGNATURE_INVALID, SIGNATURE_REQUIRED, Proof
from mas_core.security.signing import statement_of

CLOCK_TOLERANCE_MS = 60_000
"""How far a signature may be ahead of the server's clock."""


class SigningKeys(Protocol):
    """Knows the public keys of agents."""

    def key(self, agent_id: str, key_id: str) -> AgentKey | None:
        """One key of an agent, valid or not."""


class CheckSignature:
    """Every message carries a fresh signature under the very key that its frame was sealed with."""

    name = "signature"

    def __init__(self, keys: SigningKeys, namespace: str, max_age_s: float) -> None:
        self._keys = keys
        self._namespace = namespace
        self._max_age_ms = int(max_age_s * 1000)

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Unauthenticated, expired, or the proof in `transit.proof`."""
        envelope = transit.envelope
        signature = envelope.signature
        if signature is None or not envelope.flags & Flag.SIGNED:
            return _refused("the message carries no signature of its sender", SIGNATURE_REQUIRED)
        if signature.algorithm != ALGORITHM:
            return _refused("the signature is of a kind that is not accepted")
        key = self._keys.key(transit.sender, transit.key_id)
        if key is None or signature.key_id != transit.key_id or len(signature.salt) != SALT_BYTES:
            return _refused("the signature is not under the key of its sender")
        statement = statement_of(envelope, signature, transit.sender, self._namespace)
        try:
            statement.verify(signature.value, key.signing_key)
        except SignatureInvalid:
            return _refused("the signature does not fit the message")
        age = batch.now - envelope.sent_at
        if age > self._max_age_ms:
            return Verdict(
                Decision.EXPIRED,
                f"the signature is {age / 1000:.0f} s old; it counts for {self._max_age_ms / 1000:g} s",
            )
        if age < -CLOCK_TOLERANCE_MS:
            return _refused(f"the signature is dated {-age / 1000:.0f} s ahead of the server's clock")
        transit.proof = Proof(
            signature.algorithm,
            signature.key_id,
            signature.salt,
            signature.value,
            envelope.sent_at,
            envelope.ttl_ms,
            envelope.priority,
            envelope.flags,
            statement.payload,
        )
        transit.details = {
            **(transit.details or {}),
            "signature": {
                "algorithm": signature.algorithm,
                "value": b64encode(signature.value).decode(),
                "namespace": self._namespace,
                "sent_at": envelope.sent_at,
                "ttl_ms": envelope.ttl_ms,
                "priority": envelope.priority,
                "flags": envelope.flags,
                "payload": statement.payload.hex(),
                "headers": statement.headers.hex(),
            },
        }
        return None


def proof_of_delivery(transit: Transit) -> Proof | None:
    """The proof as the receiver gets it: with the digest of what was signed only if something else is delivered."""
    proof = transit.proof
    if proof is None:
        return None
    if transit.data == transit.envelope.data:
        return msgspec.structs.replace(proof, digest=b"")
    kinds = ", ".join(sorted({finding.rule for finding in transit.findings}))
    change = f"changed by the scan: {kinds}" if kinds else "written in another form"
    return msgspec.structs.replace(proof, change=change)


def _refused(reason: str, rule: str = SIGNATURE_INVALID) -> Verdict:
    return Verdict(Decision.UNAUTHENTICATED, f"Authentication failed: {reason}", rule)
